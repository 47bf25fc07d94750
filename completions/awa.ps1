Register-ArgumentCompleter -Native -CommandName awa -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $length = [Math]::Max(0, $cursorPosition - $commandAst.Extent.StartOffset)
    $asked = @{
        _AWA_COMPLETE = 'powershell'
        _AWA_LINE = $commandAst.Extent.Text.PadRight($length).Substring(0, $length)
        _AWA_PASSING = "$PSNativeCommandArgumentPassing"
    }
    try {
        foreach ($name in $asked.Keys) {
            [Environment]::SetEnvironmentVariable($name, $asked[$name])
        }
        $reply = @(awa 2>$null)
    } finally {
        foreach ($name in $asked.Keys) { [Environment]::SetEnvironmentVariable($name, $null) }
    }
    foreach ($line in $reply) {
        if (-not $line.StartsWith('=')) {
            $one = ConvertFrom-Json $line
            [System.Management.Automation.CompletionResult]::new(
                $one.text, $one.shown, 'ParameterValue', $one.about)
        }
    }
}
