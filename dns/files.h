/* Finds and reads resolv.conf and hosts: those of a namespace, and of /etc. */

#ifndef DNS_FILES_H
#define DNS_FILES_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#include "dns/conf.h"

/*
 * Directories that are held open, by O_PATH. Without access to the file system
 * but through them, and with the rights of a user who may read /etc, a process
 * finds what is there at the time of each use.
 */
struct dns_files {
	int etc;                 /* /etc, or -1: there is none */
	int root;                /* the root of a process, or -1 */
	char own[16 + NAME_MAX]; /* "netns/NAME", under etc; or "" */
	pid_t pid;               /* of root, for messages */
};

/* Which versions of the files there are; equal if nothing has changed. */
struct dns_stamp {
	struct dns_file_stamp {
		int64_t error, dev, ino, size;
		int64_t mtime, ctime; /* ns */
	} file[2];                    /* resolv.conf, hosts */
	bool recent; /* so young that a change might not show: never equal */
};

/*
 * Opens the directories. netns: the name of a namespace, whose files are in
 * /etc/netns/NAME, or NULL. root: a descriptor of /proc/PID/root (O_PATH),
 * which *files owns from now on, or -1. Returns 0, or -1 with errno.
 */
int dns_files_open(struct dns_files *, const char *netns, int root, pid_t pid);
void dns_files_close(struct dns_files *);

/*
 * Reads the namespace's own resolv.conf; where it has none, that of /etc; where
 * that is missing, too, as if it were empty. Returns 0; or -1 with errno and
 * the file in *which: EACCES, EINVAL no regular file, EFBIG, ENOENT a symbolic
 * link that leads nowhere. Only a file whose name is not there is passed over.
 */
int dns_files_conf(const struct dns_files *, struct dns_conf *,
    enum dns_file *which);

/*
 * Looks for a name, without a dot at its end, in hosts, chosen like
 * resolv.conf, of which the first MiB counts. Adds to the result's lists.
 */
int dns_files_hosts(const struct dns_files *, const char *name,
    struct dns_result *, enum dns_file *which);

/* Takes the stamp of the files that those two would read. */
void dns_files_stamp(const struct dns_files *, struct dns_stamp *);
bool dns_stamp_equal(const struct dns_stamp *, const struct dns_stamp *);

/* Writes the path of a file for a message. Returns buf. */
#define DNS_PATH_SIZE (NAME_MAX + 64)
const char *dns_files_path(const struct dns_files *, enum dns_file, char *buf);

#endif
