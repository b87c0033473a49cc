# Completion for bash: /usr/share/bash-completion/completions/nsfwd
# Options are those of --help; namespaces those of `ip netns`.

_nsfwd() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
	COMPREPLY=()
	case $before in
	-c | --config | -P | --pidfile | --stats)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	--from | --to)
		mapfile -t COMPREPLY < <(compgen -W \
			"self init $(ip netns list 2>/dev/null | cut -d' ' -f1)" -- "$word")
		return
		;;
	esac
	if [[ $word == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" --help 2>/dev/null |
			grep -oE -- '(^|[[:space:],])--?[A-Za-z][a-z-]*' | tr -d ' ,')" -- "$word")
	else
		mapfile -t COMPREPLY < <(compgen -S @ -W \
			"self init $(ip netns list 2>/dev/null | cut -d' ' -f1)" -- "$word")
		compopt -o nospace 2>/dev/null
	fi
}
complete -F _nsfwd nsfwd
