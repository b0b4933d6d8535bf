# shellcheck shell=bash
# Completion of tokenctl for bash, with or without the bash-completion package.
# Made from the program's grammar: do not edit. It starts no program, and data is never evaluated.

_tokenctl_node() { # VERB: what can follow it
  case $1 in
@nodes@
  esac
}

_tokenctl_value() { # VERB:OPTION: offer the option's values
  case $1 in
@values@
  esac
}

_tokenctl_argument() { # VERB:N: offer its next argument, N are given
  case $1 in
@positions@
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
        @commands@) _tokenctl_command "${starts[i + 1]}" ;;
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
