function __awa_completion
    set -l reply (env _AWA_COMPLETE=fish _AWA_LINE=(commandline -cp | string collect) awa \
        2>/dev/null </dev/null)
    switch "$reply[1]"
        case =files
            __fish_complete_path (commandline -ct)
        case =space =open
            printf '%s\n' $reply[2..-1]
    end
end

complete --command awa --no-files --arguments '(__awa_completion)'
