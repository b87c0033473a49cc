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

# Completes the word that the user sees, up to the cursor; `cut` is its front, to
# which the replies belong.
_nsfwd_replies() {
	local line=${COMP_LINE:0:COMP_POINT} before last
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
	cut=${word%"$last"}
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
		cut=${word%"${last##*:}"}
		[[ $cut != *: ]] || kinds=
		[ -z "$kinds" ] || compopt -o nospace 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -W "$(_nsfwd_names "$cut") $kinds" \
			-- "${word#"$cut"}")
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
}

# Bash splits words by COMP_WORDBREAKS, which has '=' and ':', and replaces the last
# piece; if that follows an '@', the '@' too.
_nsfwd() {
	local word cut last
	_nsfwd_replies
	last=${word##*["$COMP_WORDBREAKS"]}
	[[ ${word%"$last"} != *@ ]] || last=@$last
	COMPREPLY=("${COMPREPLY[@]/#/"$cut"}")
	COMPREPLY=("${COMPREPLY[@]#"${word%"$last"}"}")
}
complete -F _nsfwd nsfwd
