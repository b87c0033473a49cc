# Completion for bash: /usr/share/bash-completion/completions/nsfwd
# Options are those of --help; namespaces those of `ip netns`.

_nsfwd_namespaces() {
	echo self init
	ip netns list 2>/dev/null | cut -d' ' -f1
}

# Bash splits words at '=' and ':', by COMP_WORDBREAKS, and replaces only the last
# piece; this completes the word that the user sees, up to the cursor.
_nsfwd() {
	local line=${COMP_LINE:0:COMP_POINT} word before cut last
	local keys="allow= deny= max= max-source= accept-proxy= balance= via= via-auth=
		proxy= src= dev= mark= dns= auth= reach= udp-ports=
		udp-address= proxy-netns=off proxy-each=off mode= owner= user= flows= offload=off
		workers= connect-timeout= idle-timeout= half-close-timeout= udp-timeout=
		udp-one-way-timeout="
	word=${line##*[[:space:]]}
	before=${line%"$word"}
	before=${before%"${before##*[![:space:]]}"}
	before=${before##*[[:space:]]}
	COMPREPLY=()
	case $word in
	--*=*)
		before=${word%%=*}
		last=${word#*=}
		;;
	*) last=$word ;;
	esac
	case $before in
	-c | --config | -P | --pidfile | --stats)
		mapfile -t COMPREPLY < <(compgen -f -- "$last")
		return
		;;
	--user)
		mapfile -t COMPREPLY < <(compgen -u -- "$last")
		return
		;;
	--check)
		mapfile -t COMPREPLY < <(compgen -W syntax -- "$last")
		[[ $word != *=* ]] || return
		;;
	--from | --to)
		mapfile -t COMPREPLY < <(compgen -W "$(_nsfwd_namespaces)" -- "$last")
		return
		;;
	esac
	if [[ $word == -* && $word != -=* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" --help 2>/dev/null |
			grep -oE -- '(^|[[:space:],])--?[A-Za-z][a-z-]*' | tr -d ' ,')" -- "$word")
		return
	fi
	compopt -o nospace 2>/dev/null
	if [[ $word == *=*,* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$keys" -- "${word##*,}")
		cut=${word%"${word##*,}"}
	else
		cut=${word%"${word##*[=:]}"}
		mapfile -t COMPREPLY < <(compgen -S @ -W "$(_nsfwd_namespaces)" -- "${word#"$cut"}")
	fi
	# What bash replaces begins behind the last of COMP_WORDBREAKS.
	[ -z "$cut" ] || [[ $COMP_WORDBREAKS == *"${cut: -1}"* ]] || {
		last=${word##*["$COMP_WORDBREAKS"]}
		cut=${last%"${word#"$cut"}"}
		COMPREPLY=("${COMPREPLY[@]/#/$cut}")
	}
}
complete -F _nsfwd nsfwd
