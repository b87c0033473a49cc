/* Checks the name servers before a map serves, and returns a warning. */

#ifndef DNS_CHECK_H
#define DNS_CHECK_H

#include "dns/query.h"

/*
 * Checks the files and servers. To be called with the rights and in the
 * namespace of the process that will resolve names. Returns NULL, or buf, of
 * DNS_TEXT_MAX bytes, with a warning: a file that cannot be read; a nameserver
 * line without an address; a server that there is no route to; a server on a
 * loopback address that nothing listens on. A server on a loopback address gets
 * one datagram that is no question, which it ignores.
 */
const char *dns_check(const struct dns_source *, char *buf, size_t size);

#endif
