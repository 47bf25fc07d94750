_awa_completion() {
    local program=$1 reply line
    case $program in '~/'*) program=$HOME/${program#'~/'} ;; esac
    COMPREPLY=()
    reply=$(_AWA_COMPLETE=bash _AWA_LINE="${COMP_LINE:0:$COMP_POINT}" _AWA_WORD="$2" \
        "$program" 2>/dev/null </dev/null) || return 0
    while IFS= read -r line; do
        case $line in
            =files | =space) ;;
            =none) type compopt >/dev/null 2>&1 && compopt +o default ;;
            =open) type compopt >/dev/null 2>&1 && compopt -o nospace ;;
            *) COMPREPLY[${#COMPREPLY[@]}]=$line ;;
        esac
    done <<< "$reply"
    return 0
}

complete -o default -F _awa_completion awa
