/* Looks up the users that a map names, and reads passwords from files. */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "config/users.h"

#include "base/log.h"
#include "base/secret.h"
#include "config/config.h"
#include "config/map.h"
#include "config/mask.h"
#include "config/value.h"

#define AUTH_LINE_MAX 600
#define NOBODY_ID     65534 /* if the system has no user "nobody" */

/*
 * Opens a file. On a reload, opens only a regular file, because a pipe has no
 * more data and reading the pipe may block. Returns NULL, and sets *why, if the
 * file cannot be opened.
 */
static FILE *
open_file(struct config *conf, const char *file, const char **why)
{
	struct stat st;
	FILE *f = NULL;

	*why = NULL;
	conf->has_files = true;
	if (conf->reloading && stat(file, &st) == 0 && !S_ISREG(st.st_mode))
		*why = "only a regular file is read again";
	else if (!(f = fopen(file, "re")))
		*why = strerror(errno);
	return f;
}

/* Logs an error of a file, masked because it may be a password by mistake. */
static int
auth_file_failed(const struct map *map, const char *file, const char *why)
{
	static const char key[] = ",auth=";
	char *text = NULL;

	if (asprintf(&text, "%s%s", key, file) == -1) {
		log_error("%sout of memory", map->origin);
		return -1;
	}
	mask_text(text);
	log_error("%s'%.160s': '%.160s': %s", map->origin, map->spec,
	    text + strlen(key), why);
	wipe_and_free(text);
	return -1;
}

/* Reads USER:PASSWORD from the first line of a file, unless file is NULL. */
static int
read_auth_file(struct config *conf, const struct map *map, const char *file,
    char **user, char **password)
{
	char line[AUTH_LINE_MAX] = "", buffer[AUTH_LINE_MAX];
	const char *why;
	FILE *f;

	if (!file)
		return 0;
	f = open_file(conf, file, &why);
	if (f)
		setvbuf(f, buffer, _IOFBF, sizeof(buffer));
	if (f && !fgets(line, sizeof(line), f) && ferror(f))
		why = strerror(errno);
	if (f)
		fclose(f);
	line[strcspn(line, "\r\n")] = '\0';
	if (!why)
		why = parse_user_password(line, user, password);
	return why ? auth_file_failed(map, file, why) : 0;
}

/* Looks up a user that the map names, unless text is NULL. */
static int
read_cred(const struct map *map, const char *text, struct cred *cred)
{
	const char *why = text ? parse_cred(cred, text) : NULL;

	if (!why)
		return 0;
	log_error("%s'%.160s': '%.160s': %s", map->origin, map->spec, text,
	    why);
	return -1;
}

int
users_read(struct config *conf, struct map *map)
{
	if (read_cred(map, map->owner, &map->owner_cred) == -1 ||
	    read_cred(map, map->run_as, &map->run_cred) == -1 ||
	    read_auth_file(conf, map, map->auth_file, &map->user,
		&map->password) == -1)
		return -1;
	for (size_t i = 0; i < map->n_hops; i++)
		if (read_auth_file(conf, map, map->hops[i].auth_file,
			&map->hops[i].user, &map->hops[i].password) == -1)
			return -1;
	return 0;
}

/* The first choice is a user that no other program has. */
void
users_set_default(struct config *conf)
{
	struct cred *cred = &conf->owner_cred;

	if (cred->explicit)
		return;
	conf->own_user = "nsfwd";
	if (parse_cred(cred, conf->own_user)) {
		conf->own_user = "nobody";
		if (parse_cred(cred, conf->own_user))
			cred->uid = cred->gid = NOBODY_ID;
	}
	cred->explicit = false;
}
