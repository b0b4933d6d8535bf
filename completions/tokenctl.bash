# shellcheck shell=bash
# Completion of tokenctl for bash, with or without the bash-completion package.
# Made from the program's grammar: do not edit. It starts no program, and data is never evaluated.

_tokenctl_node() { # VERB: what can follow it
  case $1 in
    '')
      verbs=(issue inspect list revoke rotate-keys audit login logout whoami profile store doctor completion)
      flags=(-V --version -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'issue')
      verbs=()
      flags=(--subject --scope --audience --ttl --format --algorithm --kind --owner --label --claim --not-before --max-uses --parent --note --request-id --accept-less --exchange --exchange-fd --out --mode --group --fd --count --from --replace --grace --env --child-fd --no-mask -n --dry-run -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --subject --scope --audience --ttl --format --algorithm --kind --owner --label --claim --not-before --max-uses --parent --note --request-id --exchange --exchange-fd --out --mode --group --fd --count --from --replace --grace --env --child-fd -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'inspect')
      verbs=()
      flags=(--file --fd --use --offline --valid-for --jwks --issuer --audience --any-audience --scope --leeway --ignore-binding --ask --all-profiles -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --file --fd --valid-for --jwks --issuer --audience --scope --leeway --ask -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'list')
      verbs=()
      flags=(--limit --after --subject --owner --scope --audience --kind --format --kid --label --parent --batch --issued-after --issued-before --expires-after --expires-before --unused-for --never-used --include-untracked --state -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --limit --after --subject --owner --scope --audience --kind --format --kid --label --parent --batch --issued-after --issued-before --expires-after --expires-before --unused-for --state -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'revoke')
      verbs=()
      flags=(--from --reason --note --ticket --keep-children --suspend --for --then --lift -n --dry-run --out --plan --expect -y --yes --ignore-not-found --wait --including-self --ask --all-profiles --subject --owner --scope --audience --kind --format --kid --label --parent --batch --issued-after --issued-before --expires-after --expires-before --unused-for --never-used --include-untracked --state -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --from --reason --note --ticket --for --then --out --plan --expect --wait --ask --subject --owner --scope --audience --kind --format --kid --label --parent --batch --issued-after --issued-before --expires-after --expires-before --unused-for --state -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'rotate-keys')
      verbs=(status jwks rollback retire)
      flags=(--algorithm --if-older-than --check -n --dry-run --verifier --unobserved --compromised --root --log-key -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --algorithm --if-older-than --verifier --compromised -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'rotate-keys status')
      verbs=()
      flags=(--verifier -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --verifier -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'rotate-keys jwks')
      verbs=()
      flags=(--out -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --out -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'rotate-keys rollback')
      verbs=()
      flags=(--algorithm -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --algorithm -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'rotate-keys retire')
      verbs=()
      flags=(-p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'audit')
      verbs=(log show verify checkpoint review reconcile archive)
      flags=(--since --until --operation --actor --ticket --request-id --target --token --limit --after --before --follow --raw --all-profiles --ask --subject --owner --scope --audience --kind --format --kid --label --parent --batch --issued-after --issued-before --expires-after --expires-before --unused-for --never-used --include-untracked --state -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --since --until --operation --actor --ticket --request-id --target --token --limit --after --before --ask --subject --owner --scope --audience --kind --format --kid --label --parent --batch --issued-after --issued-before --expires-after --expires-before --unused-for --state -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'audit log')
      verbs=()
      flags=(--since --until --operation --actor --ticket --request-id --target --token --limit --after --before --follow --raw --all-profiles --ask --subject --owner --scope --audience --kind --format --kid --label --parent --batch --issued-after --issued-before --expires-after --expires-before --unused-for --never-used --include-untracked --state -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --since --until --operation --actor --ticket --request-id --target --token --limit --after --before --ask --subject --owner --scope --audience --kind --format --kid --label --parent --batch --issued-after --issued-before --expires-after --expires-before --unused-for --state -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'audit show')
      verbs=()
      flags=(--proof --seq --disclose --out -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --seq --out -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'audit verify')
      verbs=()
      flags=(--full --state --quick --known-head --proof --key --archive --require-anchor -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --known-head --proof --key --archive -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'audit checkpoint')
      verbs=()
      flags=(--out --key --handover -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --out -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'audit review')
      verbs=()
      flags=(--rule --fail-on --baseline --write-baseline -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --rule --fail-on --baseline --write-baseline -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'audit reconcile')
      verbs=()
      flags=(-n --dry-run -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'audit archive')
      verbs=()
      flags=(--before --out -n --dry-run -y --yes -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --before --out -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'login')
      verbs=()
      flags=(--client-id --role-id --rotate --in-place -y --yes -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --client-id --role-id -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'logout')
      verbs=()
      flags=(--revoke -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'whoami')
      verbs=()
      flags=(-p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'profile')
      verbs=(add list show use trust remove)
      flags=(-h --help)
      valued='  ' ;;
    'profile add')
      verbs=()
      flags=(--backend --issuer --default-audience --eddsa-name --jwks-file --verifier --address --namespace --approle-mount --transit-mount --client-id --client-auth --endpoint --ca-file -y --yes -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --backend --issuer --default-audience --eddsa-name --jwks-file --verifier --address --namespace --approle-mount --transit-mount --client-id --client-auth --endpoint --ca-file -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'profile list')
      verbs=()
      flags=(-p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'profile show')
      verbs=()
      flags=(-p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'profile use')
      verbs=()
      flags=(-p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'profile trust')
      verbs=()
      flags=(--remove --ca-file -y --yes -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --ca-file -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'profile remove')
      verbs=()
      flags=(-y --yes -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'store')
      verbs=(info move-secret backup restore accept-clock seal release)
      flags=(-h --help)
      valued='  ' ;;
    'store info')
      verbs=()
      flags=(-p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'store move-secret')
      verbs=()
      flags=(-p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'store backup')
      verbs=()
      flags=(--recipient --recipients-file --passphrase-file --passphrase-fd --without-keys -y --yes -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --recipient --recipients-file --passphrase-file --passphrase-fd -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'store restore')
      verbs=()
      flags=(--identity --passphrase-file --passphrase-fd --keep-active --reason -y --yes -n --dry-run -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --identity --passphrase-file --passphrase-fd --reason -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'store accept-clock')
      verbs=()
      flags=(--reason -y --yes -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --reason -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'store seal')
      verbs=()
      flags=(--reason -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --reason -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'store release')
      verbs=()
      flags=(--reason -y --yes -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' --reason -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'doctor')
      verbs=()
      flags=(--strict -p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
    'completion')
      verbs=()
      flags=(-p --profile -o --output -q --quiet -v --verbose --no-input --timeout --debug --credential-file --credential-fd -h --help)
      valued=' -p --profile -o --output --timeout --credential-file --credential-fd ' ;;
  esac
}

_tokenctl_value() { # VERB:OPTION: offer the option's values
  case $1 in
    *':-p'|*':--profile'|*':--ask') _tokenctl_profiles ;;
    ':-o'|'issue:-o'|'inspect:-o'|'list:-o'|'revoke:-o'|'rotate-keys:-o'|'rotate-keys status:-o'|'rotate-keys jwks:-o'|'rotate-keys rollback:-o'|'rotate-keys retire:-o'|'audit:-o'|'audit log:-o'|'audit show:-o'|'audit verify:-o'|'audit checkpoint:-o'|'audit reconcile:-o'|'audit archive:-o'|'login:-o'|'logout:-o'|'whoami:-o'|'profile add:-o'|'profile list:-o'|'profile show:-o'|'profile use:-o'|'profile trust:-o'|'profile remove:-o'|'store info:-o'|'store move-secret:-o'|'store backup:-o'|'store restore:-o'|'store accept-clock:-o'|'store seal:-o'|'store release:-o'|'doctor:-o'|'completion:-o'|':--output'|'issue:--output'|'inspect:--output'|'list:--output'|'revoke:--output'|'rotate-keys:--output'|'rotate-keys status:--output'|'rotate-keys jwks:--output'|'rotate-keys rollback:--output'|'rotate-keys retire:--output'|'audit:--output'|'audit log:--output'|'audit show:--output'|'audit verify:--output'|'audit checkpoint:--output'|'audit reconcile:--output'|'audit archive:--output'|'login:--output'|'logout:--output'|'whoami:--output'|'profile add:--output'|'profile list:--output'|'profile show:--output'|'profile use:--output'|'profile trust:--output'|'profile remove:--output'|'store info:--output'|'store move-secret:--output'|'store backup:--output'|'store restore:--output'|'store accept-clock:--output'|'store seal:--output'|'store release:--output'|'doctor:--output'|'completion:--output') _tokenctl_words text json jsonl ;;
    'audit review:-o'|'audit review:--output') _tokenctl_words text json jsonl sarif ;;
    *':--credential-file'|*':--exchange'|*':--out'|*':--from'|*':--file'|*':--jwks'|*':--plan'|*':--known-head'|*':--proof'|*':--archive'|*':--baseline'|*':--write-baseline'|*':--jwks-file'|*':--approle-mount'|*':--transit-mount'|*':--ca-file') _tokenctl_files ;;
    *':--format') _tokenctl_words opaque jwt ;;
    *':--algorithm') _tokenctl_words ES256 EdDSA Ed25519 PS256 RS256 ;;
    *':--kind') _tokenctl_words access personal service ;;
    *':--state') _tokenctl_words active suspended not_yet_valid spent expired revoked undelivered all ;;
    'revoke:--reason') _tokenctl_words compromised superseded unused owner_left policy undelivered test other ;;
    *':--then') _tokenctl_words lift revoke ;;
    *':--fail-on') _tokenctl_words error warning note ;;
    *':--backend') _tokenctl_words local oauth2 openbao ;;
    *':--eddsa-name') _tokenctl_words EdDSA Ed25519 ;;
  esac
}

_tokenctl_argument() { # VERB:N: offer its next argument, N are given
  case $1 in
    'profile show:0'|'profile use:0'|'profile remove:0') _tokenctl_profiles ;;
    'store move-secret:0') _tokenctl_words keyring file credential ;;
    'store backup:0'|'store restore:0') _tokenctl_files ;;
    'completion:0') _tokenctl_words bash zsh fish ;;
    *) return 1 ;;
  esac
}

_tokenctl_words() { # WORD...: offer those that continue what is typed
  local word
  for word in "$@"; do
    # readline replaces only what follows the last = or : of the word
    [[ $word == "$typed"* ]] && COMPREPLY+=("$prefix${word:cut}")
  done
}

_tokenctl_files() { # as the shell does it, which quotes what must be quoted
  ((BASH_VERSINFO[0] < 4)) || compopt -o default
}

_tokenctl_profiles() {
  local base=${XDG_CONFIG_HOME:-} name names=(local) strict=''
  [[ $base == /* ]] || base=${HOME:-}/.config
  if shopt -q failglob; then
    shopt -u failglob
    strict=yes
  fi
  for name in "${TOKENCTL_CONFIG:-$base/tokenctl}"/profiles/*.toml; do
    name=${name##*/}
    name=${name%.toml}
    case $name in
      local | '' | [.:-]* | *[!ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-]*) ;;
      *) ((${#name} > 64)) || names+=("$name") ;;
    esac
  done
  [[ -z $strict ]] || shopt -s failglob
  _tokenctl_words "${names[@]}"
}

_tokenctl_command() { # INDEX: what stands behind -- belongs to another command
  if declare -F _comp_command_offset >/dev/null; then
    _comp_command_offset "$1"
  elif declare -F _command_offset >/dev/null; then
    _command_offset "$1"
  elif ((COMP_CWORD > $1)) || [[ $typed == */* ]]; then
    _tokenctl_files
  else
    local name
    while IFS= read -r name; do
      [[ $name == *[!A-Za-z0-9_.+-]* ]] || COMPREPLY+=("$name")
    done < <(compgen -c -- "$typed")
  fi
}

_tokenctl() {
  local IFS=$' \t\n'
  local line=${COMP_LINE:0:COMP_POINT} words=() starts=() word i
  COMPREPLY=()
  # readline splits at = and :, which belong to our words
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word=${line#"${line%%[![:space:]]*}"}
    if ((i == 0)) || [[ -z $line || $word != "$line" ]]; then
      words+=('')
      starts+=("$i")
    fi
    line=$word
    word=${COMP_WORDS[i]:0:${#line}}
    words[${#words[@]}-1]+=$word
    line=${line:${#word}}
  done

  local verb='' verbs=() flags=() valued='' option='' given=0 last=$((${#words[@]} - 1))
  local typed=${words[last]} prefix='' cut=0
  _tokenctl_node ''
  for ((i = 1; i < last; i++)); do
    word=${words[i]}
    if [[ $word == -- ]]; then
      case $verb in
        'issue') _tokenctl_command "${starts[i + 1]}" ;;
      esac
      return
    elif [[ $valued == *" $word "* ]]; then
      option=$word
      ((++i < last)) && option=''
    elif [[ $word != -* ]]; then
      if ((given == 0)) && [[ " ${verbs[*]-} " == *" $word "* ]]; then
        verb=${verb:+$verb }$word
        _tokenctl_node "$verb"
      else
        given=$((given + 1))
      fi
    fi
  done

  if [[ -z $option && $typed == --*=* ]]; then
    option=${typed%%=*}
    typed=${typed#*=}
    [[ $COMP_WORDBREAKS == *=* ]] || prefix=$option=
    [[ $valued == *" $option "* ]] || return
  fi
  if [[ $typed == *:* && $COMP_WORDBREAKS == *:* ]]; then
    word=${typed##*:}
    cut=$((${#typed} - ${#word}))
  fi
  if [[ -n $option ]]; then
    _tokenctl_value "$verb:$option"
  elif [[ $typed == -* ]]; then
    _tokenctl_words "${flags[@]}"
  elif ((${#verbs[@]} && given == 0)); then
    _tokenctl_words "${verbs[@]}"
  elif ! _tokenctl_argument "$verb:$given" && [[ -z $typed ]]; then
    _tokenctl_words "${flags[@]}"
  fi
}

if ((BASH_VERSINFO[0] < 4)); then
  complete -o default -F _tokenctl tokenctl
else
  complete -F _tokenctl tokenctl
fi
