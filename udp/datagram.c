/* Receives and sends datagrams in batches, with every boundary kept. */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/filter.h>

#include "udp/datagram.h"
#include "udp/flow.h"

/* Linux 4.18, 5.0 and 4.12; the C library may be older. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

#define RECEIVE_BUFFER   (4 << 20)
#define STALE_MAX        16384 /* more than such a buffer holds */
#define MEMINFO_DROPS    8     /* SK_MEMINFO_DROPS in linux/sock_diag.h */
#define GSO_SEGMENTS_MAX 64    /* in one send, UDP_MAX_SEGMENTS of Linux 4.18 */
#define GSO_BYTES_MAX    65000 /* bytes of one send of several */

/* One message of sendmmsg(2): a run of datagrams of one size. */
struct gso_run {
	struct datagram *end; /* the first behind it */
	size_t count, bytes;
};

/* The messages of one sendmmsg(2), and the parts of all of them. */
struct send_batch {
	struct mmsghdr msg[BATCH];
	struct gso_run run[BATCH];
	struct iovec iov[BATCH];
	unsigned count;
	size_t parts;
	_Alignas(struct cmsghdr) unsigned char control[BATCH][DATAGRAM_CONTROL];
};

static void
set(int fd, int level, int name, int value)
{
	setsockopt(fd, level, name, &value, sizeof(value));
}

void
datagram_set_options(int fd, int family, bool listens, bool offload)
{
	/* The first has a sysctl's limit, the second takes CAP_NET_ADMIN. */
	set(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER);
	set(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER);
	if (offload)
		set(fd, SOL_UDP, UDP_GRO, 1);
	if (family == AF_INET) {
		set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
		set(fd, IPPROTO_IP, IP_PKTINFO, listens);
	} else {
		set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
		set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, listens);
	}
}

/* An error that is pending takes a call of its own. */
static void
discard(int fd)
{
	char byte;

	for (int i = 0; i < STALE_MAX; i++)
		if (recv(fd, &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN)
			break;
}

int
datagram_mute(int fd)
{
	struct sock_filter drop = {.code = BPF_RET | BPF_K};
	const struct sock_fprog all = {.len = 1, .filter = &drop};
	int result =
	    setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &all, sizeof(all));
	int saved = errno;

	discard(fd);
	errno = saved;
	return result;
}

/* In this order: what comes in between is not heard, either. */
void
datagram_unmute(int fd)
{
	discard(fd);
	set(fd, SOL_SOCKET, SO_DETACH_FILTER, 1);
}

uint32_t
datagram_rcvbuf_drops(int fd)
{
	uint32_t info[MEMINFO_DROPS + 1] = {0};
	socklen_t length = sizeof(info);

	getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &length);
	return info[MEMINFO_DROPS];
}

/*
 * A group answers nobody: the kernel is left to choose. A link-local address
 * of ours answers on its own link, also a client that is not link-local.
 */
static void
read_local(struct flow_key *key, const struct in6_pktinfo *six)
{
	if (!IN6_IS_ADDR_MULTICAST(&six->ipi6_addr))
		key->local = six->ipi6_addr;
	if (IN6_IS_ADDR_LINKLOCAL(&six->ipi6_addr))
		key->peer.v6.sin6_scope_id = six->ipi6_ifindex;
}

/* Returns the size of the datagrams that it is made of; 0: it is one. */
static int
read_control(struct flow_key *key, struct msghdr *msg)
{
	struct in6_pktinfo six;
	struct in_pktinfo four;
	struct cmsghdr *c;
	int segment = 0;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			memcpy(&four, CMSG_DATA(c), sizeof(four));
			memcpy(&key->local, &four.ipi_spec_dst, 4);
		} else if (c->cmsg_level == IPPROTO_IPV6 &&
		    c->cmsg_type == IPV6_PKTINFO) {
			memcpy(&six, CMSG_DATA(c), sizeof(six));
			read_local(key, &six);
		} else if (c->cmsg_level == SOL_UDP &&
		    c->cmsg_type == UDP_GRO) {
			memcpy(&segment, CMSG_DATA(c), sizeof(segment));
		}
	}
	return segment;
}

/* Only what the last call used has to be laid out anew. */
static void
reset_msgs(struct batch *batch)
{
	for (size_t i = 0; i < BATCH; i++) {
		struct msghdr *msg = &batch->msg[i].msg_hdr;

		if (msg->msg_iov && i >= batch->used)
			break;
		batch->iov[i] =
		    (struct iovec){batch->data[i], sizeof(batch->data[i])};
		batch->key[i] = (struct flow_key){0};
		*msg = (struct msghdr){
		    .msg_name = &batch->key[i].peer,
		    .msg_namelen = sizeof(batch->key[i].peer),
		    .msg_iov = &batch->iov[i],
		    .msg_iovlen = 1,
		    .msg_control = batch->control[i],
		    .msg_controllen = sizeof(batch->control[i]),
		};
	}
}

static void
split_gro(struct batch *batch, size_t i)
{
	size_t length = batch->msg[i].msg_len, at = 0, size;

	size = (size_t)read_control(&batch->key[i], &batch->msg[i].msg_hdr);
	if (!size || size > length)
		size = length;
	do {
		struct datagram *d = &batch->datagram[batch->count++];

		d->data = batch->data[i] + at;
		d->length = size < length - at ? size : length - at;
		d->key = &batch->key[i];
		at += size;
	} while (at < length && batch->count < DATAGRAMS);
}

int
datagram_receive(int fd, struct batch *batch)
{
	int n;

	reset_msgs(batch);
	do
		n = recvmmsg(fd, batch->msg, BATCH, MSG_DONTWAIT, NULL);
	while (n == -1 && errno == EINTR);
	batch->count = 0;
	batch->used = n == -1 ? 0 : (size_t)n;
	for (size_t i = 0; i < batch->used && batch->count < DATAGRAMS; i++)
		split_gro(batch, i);
	return n == -1 ? -1 : 0;
}

static void
add_control(struct msghdr *msg, int level, int type, const void *data,
    size_t size)
{
	unsigned char *at = msg->msg_control;
	struct cmsghdr *c = (void *)(at + msg->msg_controllen);

	memset(c, 0, CMSG_SPACE(size));
	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = (socklen_t)CMSG_LEN(size);
	memcpy(CMSG_DATA(c), data, size);
	msg->msg_controllen += (socklen_t)CMSG_SPACE(size);
}

/* The address that the client wrote to is the one that answers it. */
static void
set_reply_addr(struct msghdr *msg, const struct flow_key *to)
{
	struct in6_pktinfo six = {.ipi6_addr = to->local};
	struct in_pktinfo four = {0};

	msg->msg_name = (void *)(uintptr_t)&to->peer;
	if (to->peer.sa.sa_family == AF_INET) {
		memcpy(&four.ipi_spec_dst, &to->local, 4);
		add_control(msg, IPPROTO_IP, IP_PKTINFO, &four, sizeof(four));
		msg->msg_namelen = sizeof(to->peer.v4);
	} else {
		six.ipi6_ifindex = to->peer.v6.sin6_scope_id;
		add_control(msg, IPPROTO_IPV6, IPV6_PKTINFO, &six, sizeof(six));
		msg->msg_namelen = sizeof(to->peer.v6);
	}
}

/* What was received joined lies side by side, and is one part again. */
static bool
add_part(struct send_batch *box, struct msghdr *msg, const struct datagram *d)
{
	struct iovec *last = msg->msg_iov + msg->msg_iovlen;

	if (msg->msg_iovlen &&
	    d->data == (unsigned char *)last[-1].iov_base + last[-1].iov_len) {
		last[-1].iov_len += d->length;
		return true;
	}
	if (box->parts == BATCH)
		return false;
	*last = (struct iovec){d->data, d->length};
	box->parts++;
	msg->msg_iovlen++;
	return true;
}

/* Datagrams of one size, of which the last may be shorter, are one run. */
static struct gso_run
next_run(struct send_batch *box, struct msghdr *msg, struct datagram *d,
    size_t limit)
{
	size_t size = d->length, last;
	struct gso_run run = {0};

	while (add_part(box, msg, d)) {
		run.count++;
		run.bytes += d->length;
		last = d->length;
		d = d->next;
		if (!d || last < size || size > limit || d->length > size ||
		    d->length == 0 || run.count == GSO_SEGMENTS_MAX ||
		    run.bytes + d->length > GSO_BYTES_MAX)
			break;
	}
	run.end = d;
	return run;
}

static void
build_msgs(struct send_batch *box, const struct flow_key *to, size_t limit,
    struct datagram *list)
{
	box->count = 0;
	box->parts = 0;
	while (list && box->parts < BATCH) {
		struct msghdr *msg = &box->msg[box->count].msg_hdr;
		struct gso_run *run = &box->run[box->count];
		uint16_t size = (uint16_t)list->length;

		*msg = (struct msghdr){.msg_iov = &box->iov[box->parts],
		    .msg_control = box->control[box->count]};
		*run = next_run(box, msg, list, limit);
		if (to)
			set_reply_addr(msg, to);
		if (run->count > 1)
			add_control(msg, SOL_UDP, UDP_SEGMENT, &size,
			    sizeof(size));
		list = run->end;
		box->count++;
	}
}

/* musl's sendmmsg(3) is a loop of sendmsg(2). */
static int
send_all(int fd, struct send_batch *box)
{
	return (int)syscall(SYS_sendmmsg, fd, box->msg, box->count,
	    MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* On this way, or of this size. */
static bool
is_gso_error(int err)
{
	return err == EINVAL || err == EMSGSIZE || err == EIO ||
	    err == ENOPROTOOPT || err == EOPNOTSUPP;
}

bool
datagram_is_icmp_error(int err)
{
	return err == ECONNREFUSED || err == EHOSTUNREACH ||
	    err == ENETUNREACH || err == EACCES || err == ENOPROTOOPT;
}

bool
datagram_refused_at_once(int fd)
{
	socklen_t length = sizeof(int);
	int error = 0;

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
	return datagram_is_icmp_error(error);
}

/* After `ss -K` a socket says ECONNABORTED, and EDESTADDRREQ ever after. */
bool
datagram_lost_way(int err)
{
	return err == ENETUNREACH || err == EHOSTUNREACH || err == EINVAL ||
	    err == EADDRNOTAVAIL || err == ENODEV || err == ECONNABORTED ||
	    err == EDESTADDRREQ;
}

bool
datagram_exhausted(int err)
{
	return err == EMFILE || err == ENFILE || err == ENOBUFS ||
	    err == ENOMEM || err == EAGAIN || err == ENOSPC;
}

/*
 * A pending error of the socket, such as ECONNREFUSED, meets a datagram that
 * has nothing to do with it and did not go out: so once more. Datagrams that
 * are refused joined and also alone say nothing of the size that works.
 */
void
datagram_send(int fd, const struct flow_key *to, uint16_t *limit,
    struct datagram *list, struct send_result *outcome)
{
	struct send_batch box;
	bool again = false;
	uint16_t before = 0; /* the limit, until one has gone out below it */

	while (list) {
		const struct gso_run *run = box.run;
		int sent;

		build_msgs(&box, to, *limit, list);
		sent = send_all(fd, &box);
		for (; sent > 0; sent--, run++) {
			outcome->datagrams += run->count;
			outcome->bytes += run->bytes;
			list = run->end;
			again = false;
			before = 0;
		}
		if (run != box.run || errno == EINTR)
			continue;
		if (datagram_is_icmp_error(errno) && !again) {
			outcome->refused = again = true;
		} else if (run->count > 1 && is_gso_error(errno)) {
			before = *limit;
			*limit = (uint16_t)(list->length - 1);
		} else {
			*limit = before ? before : *limit;
			before = 0;
			outcome->lost += run->count;
			outcome->error = errno;
			list = run->end;
			again = false;
		}
	}
}
