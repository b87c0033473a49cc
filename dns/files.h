/* Finds and reads resolv.conf and hosts: those of a namespace, and of /etc. */

#ifndef DNS_FILES_H
#define DNS_FILES_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#include "dns/conf.h"

/*
 * Directories that stay open (O_PATH). With the rights of a user who may read
 * /etc, a process finds the current files in them, even if it has no other
 * access to the file system.
 */
struct dns_files {
	int etc;                 /* /etc, or -1: there is none */
	int root;                /* the root of a process, or -1 */
	char own[16 + NAME_MAX]; /* "netns/NAME", a path below etc; or "" */
	pid_t pid;               /* of root, for messages */
};

/*
 * Opens the directories (O_PATH) below which the files may be read: those that
 * they are in, those that symbolic links of the host lead to, and those where
 * usual programs keep them. Writes at most max descriptors, which the caller
 * closes. Returns how many.
 */
size_t dns_files_dirs(const struct dns_files *, int *dirs, size_t max);

/* The versions of both files. The stamps of unchanged files are equal. */
struct dns_stamp {
	struct dns_file_stamp {
		int64_t error, dev, ino, size;
		int64_t mtime, ctime; /* ns */
	} file[2];                    /* resolv.conf, hosts */
	/*
	 * A file changed so recently that its times may stay as they are at
	 * another change. Such a stamp equals no other.
	 */
	bool recent;
};

/*
 * Opens the directories. netns: the name of a namespace, whose files are in
 * /etc/netns/NAME, or NULL. root: a descriptor of /proc/PID/root (O_PATH),
 * which *files owns from now on, or -1. Returns 0, or -1 with errno.
 */
int dns_files_open(struct dns_files *, const char *netns, int root, pid_t pid);
void dns_files_close(struct dns_files *);

/*
 * Reads resolv.conf of the namespace or, if its name does not exist there, that
 * of /etc. If both are missing, *conf is as for an empty file. Returns 0; or -1
 * with errno and the file in *which. EINVAL: no regular file; EFBIG: too large;
 * ENOENT: a symbolic link that leads nowhere.
 */
int dns_files_conf(const struct dns_files *, struct dns_conf *,
    enum dns_file *which);

/*
 * Looks for a name, without a dot at its end, in the first MiB of hosts, and
 * adds its addresses to the lists of the result. The choice of the file and the
 * errors are those of dns_files_conf(), but a large file is no error.
 */
int dns_files_hosts(const struct dns_files *, const char *name,
    struct dns_result *, enum dns_file *which);

/* Gets the stamp of the files that dns_files_conf() and _hosts() would read. */
void dns_files_stamp(const struct dns_files *, struct dns_stamp *);
bool dns_stamp_equal(const struct dns_stamp *, const struct dns_stamp *);

/* Writes the path of a file for a message. Returns buf. */
#define DNS_PATH_SIZE (NAME_MAX + 64)
const char *dns_files_path(const struct dns_files *, enum dns_file, char *buf);

#endif
