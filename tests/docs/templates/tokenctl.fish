# Completion of tokenctl for fish.
# Made from the program's grammar: do not edit. It starts no program, and data is never evaluated.

function __tokenctl_node --no-scope-shadowing
    switch "$argv[1]"
@nodes@
    end
end

function __tokenctl_value --no-scope-shadowing
    switch "$argv[1]"
@values@
    end
end

function __tokenctl_argument --no-scope-shadowing
    switch "$argv[1]"
@positions@
        case '*'
            return 1
    end
end

function __tokenctl_words --no-scope-shadowing
    set -a offers $prefix$argv
    return 0
end

function __tokenctl_files --no-scope-shadowing
    set wants_files yes
    return 0
end

function __tokenctl_profiles --no-scope-shadowing
    set -l base $XDG_CONFIG_HOME
    string match -q '/*' -- "$base"; or set base $HOME/.config
    set -l config $base/tokenctl
    test -n "$TOKENCTL_CONFIG"; and set config $TOKENCTL_CONFIG
    set -l files $config/profiles/*.toml
    set -l names
    set -q files[1]
    and set names (string replace -rf '(?s)\A.*/([A-Za-z0-9_][A-Za-z0-9_.:-]{0,63})\.toml\z' '$1' -- $files)
    contains -- local $names; or set -a names local
    __tokenctl_words $names
end

function __tokenctl_offer --description 'Offer what can stand at the cursor; with "files", tell whether a file can'
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    set -l verb ''
    set -l verbs
    set -l verbs_told
    set -l flags_told
    set -l valued
    set -l option ''
    set -l prefix ''
    set -l offers
    set -l wants_files no
    set -l given 0
    __tokenctl_node ''
    set -e words[1]
    while set -q words[1]
        set -l word $words[1]
        set -e words[1]
        if test "$word" = --
            contains -- "$verb" @commands@; or return 1
            test "$argv" = files; and return 1
            complete -C (string join ' ' -- (string escape -- $words) $typed)
            return
        else if contains -- "$word" $valued
            set -q words[1]; or set option $word
            set -e words[1]
        else if not string match -q -- '-*' "$word"
            if test $given = 0; and contains -- "$word" $verbs
                set verb (string trim -- "$verb $word")
                __tokenctl_node "$verb"
            else
                set given 1
            end
        end
    end

    if test -z "$option"; and string match -q -- '--*=*' "$typed"
        set option (string replace -r '(?s)=.*' '' -- "$typed")
        set prefix $option=
        contains -- "$option" $valued; or return 1
    end
    if test -n "$option"
        __tokenctl_value "$verb:$option"
    else if string match -q -- '-*' "$typed"
        set offers $flags_told
    else if set -q verbs[1]; and test $given = 0
        set offers $verbs_told
    else if not __tokenctl_argument "$verb:$given"; and test -z "$typed"
        set offers $flags_told
    end
    if test "$argv" = files
        test $wants_files = yes
    else if set -q offers[1]
        printf '%s\n' $offers
    end
end

complete -c tokenctl -f
complete -c tokenctl -n '__tokenctl_offer files' -F
complete -c tokenctl -a '(__tokenctl_offer)'
