# Completion for bash: /usr/share/bash-completion/completions/nsfwd
# Options are those of --help; namespaces those of `ip netns` and of containers.

# _nsfwd_names FRONT: namespaces; behind docker: and the like, which end FRONT,
# containers, units and machines.
_nsfwd_names() {
	case $1 in
	*docker:) docker ps --format '{{.Names}}' ;;
	*podman:) podman ps --format '{{.Names}}' ;;
	*unit:) systemctl list-units -t service --state running --plain --no-legend ;;
	*machine:) machinectl list --no-legend ;;
	*)
		printf '%s\n' self init
		ip netns list
		;;
	esac 2>/dev/null | cut -d' ' -f1
}

# Bash splits words at '=' and ':', by COMP_WORDBREAKS, and replaces only the last
# piece; this completes the word that the user sees, up to the cursor.
_nsfwd() {
	local line=${COMP_LINE:0:COMP_POINT} word before cut last
	local kinds='docker: podman: unit: machine:'
	local keys="allow= deny= max= max-source= accept-proxy= balance= via= via-auth=
		proxy= src= dev= mark= dns= auth= reach= udp-ports=
		udp-address= tproxy=off proxy-netns=off proxy-each=off mode= owner= user= flows= offload=off
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
	--status)
		mapfile -t COMPREPLY < <(compgen -W "all all,json json" -- "$last")
		[[ $word == *=* ]] || mapfile -t COMPREPLY < <(compgen -f -- "$last")
		return
		;;
	--check | --rules)
		mapfile -t COMPREPLY < <(compgen -W "$([ "$before" = --check ] &&
			echo syntax || echo tproxy)" -- "$last")
		[[ $word != *=* ]] || return
		;;
	--from | --to)
		cut=${last%"${last##*:}"}
		[ -n "$cut" ] || compopt -o nospace 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -W "$(_nsfwd_names "$cut") $([ -n "$cut" ] || echo "$kinds")" \
			-- "${last#"$cut"}")
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
		[[ ,${kinds// /,}, != *,"${cut##*=}",* ]] || kinds=
		mapfile -t COMPREPLY < <(compgen -S @ -W "$(_nsfwd_names "$cut")" -- "${word#"$cut"}"
			compgen -W "$kinds" -- "${word#"$cut"}")
	fi
	# What bash replaces begins behind the last of COMP_WORDBREAKS.
	[ -z "$cut" ] || [[ $COMP_WORDBREAKS == *"${cut: -1}"* ]] || {
		last=${word##*["$COMP_WORDBREAKS"]}
		cut=${last%"${word#"$cut"}"}
		COMPREPLY=("${COMPREPLY[@]/#/$cut}")
	}
}
complete -F _nsfwd nsfwd
