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

#include "udp/datagram.h"
#include "udp/error.h"
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
#define MEMINFO_DROPS    8     /* SK_MEMINFO_DROPS in linux/sock_diag.h */
#define GSO_SEGMENTS_MAX 64    /* in one send, UDP_MAX_SEGMENTS of Linux 4.18 */
#define GSO_BYTES_MAX    65000 /* in one send of several datagrams */

/*
 * One message of sendmmsg(2): datagrams of one size, the last of which may be
 * shorter.
 */
struct gso_run {
	struct datagram *end; /* the datagram after the run; NULL: none */
	size_t count, bytes;
};

/* The messages of one sendmmsg(2); iov[] holds the parts of all of them. */
struct send_batch {
	struct mmsghdr msg[BATCH_MSGS];
	struct gso_run run[BATCH_MSGS];
	struct iovec iov[BATCH_MSGS];
	unsigned n_msgs;
	size_t n_parts;
	_Alignas(8) unsigned char control[BATCH_MSGS][DATAGRAM_CONTROL];
};

/* The state of a datagram_send() between its calls of sendmmsg(2). */
struct sending {
	struct send_result *result;
	uint16_t *gso_max;
	uint16_t old_gso_max; /* *gso_max before a retry; 0: not lowered */
	bool retried;         /* the next run is a retry after an ICMP error */
};

static void
set_int_option(int fd, int level, int name, int value)
{
	setsockopt(fd, level, name, &value, sizeof(value));
}

void
datagram_set_options(int fd, int family, bool listens, bool offload)
{
	/*
	 * net.core.rmem_max limits SO_RCVBUF; SO_RCVBUFFORCE needs
	 * CAP_NET_ADMIN.
	 */
	set_int_option(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER);
	set_int_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER);
	if (offload)
		set_int_option(fd, SOL_UDP, UDP_GRO, 1);
	if (family == AF_INET) {
		set_int_option(fd, IPPROTO_IP, IP_MTU_DISCOVER,
		    IP_PMTUDISC_DONT);
		set_int_option(fd, IPPROTO_IP, IP_PKTINFO, listens);
		set_int_option(fd, IPPROTO_IP, IP_RECVTOS, 1);
	} else {
		set_int_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER,
		    IPV6_PMTUDISC_DONT);
		set_int_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, listens);
		set_int_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
	}
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
 * Leaves `local` unset for a multicast group, because a group cannot be a
 * source address: the kernel chooses one. A reply from a link-local address
 * needs the scope of its link, even to a client that is not link-local.
 */
static void
read_local(struct flow_key *key, const struct in6_pktinfo *six)
{
	if (!IN6_IS_ADDR_MULTICAST(&six->ipi6_addr))
		key->local = six->ipi6_addr;
	if (IN6_IS_ADDR_LINKLOCAL(&six->ipi6_addr))
		key->peer.v6.sin6_scope_id = six->ipi6_ifindex;
}

/* Returns the size of the datagrams that UDP_GRO has joined; 0 if none. */
static int
read_control(struct flow_key *key, struct msghdr *msg, uint8_t *tos)
{
	struct in6_pktinfo six;
	struct in_pktinfo four;
	struct cmsghdr *c;
	int segment = 0, tclass;

	*tos = 0;
	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			memcpy(&four, CMSG_DATA(c), sizeof(four));
			memcpy(&key->local, &four.ipi_spec_dst, 4);
		} else if (c->cmsg_level == IPPROTO_IPV6 &&
		    c->cmsg_type == IPV6_PKTINFO) {
			memcpy(&six, CMSG_DATA(c), sizeof(six));
			read_local(key, &six);
		} else if (c->cmsg_level == IPPROTO_IP &&
		    c->cmsg_type == IP_TOS) {
			*tos = *CMSG_DATA(c);
		} else if (c->cmsg_level == IPPROTO_IPV6 &&
		    c->cmsg_type == IPV6_TCLASS) {
			memcpy(&tclass, CMSG_DATA(c), sizeof(tclass));
			*tos = (uint8_t)tclass;
		} else if (c->cmsg_level == SOL_UDP &&
		    c->cmsg_type == UDP_GRO) {
			memcpy(&segment, CMSG_DATA(c), sizeof(segment));
		}
	}
	return segment;
}

/* Resets only messages that the last recvmmsg(2) has filled. */
static void
reset_msgs(struct batch *batch)
{
	for (size_t i = 0; i < BATCH_MSGS; i++) {
		struct msghdr *msg = &batch->msg[i].msg_hdr;

		if (msg->msg_iov && i >= batch->n_msgs)
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
	uint8_t tos;

	size =
	    (size_t)read_control(&batch->key[i], &batch->msg[i].msg_hdr, &tos);
	if (!size || size > length)
		size = length;
	do {
		struct datagram *d = &batch->datagram[batch->count++];

		d->data = batch->data[i] + at;
		d->length = size < length - at ? size : length - at;
		d->key = &batch->key[i];
		d->next = d + 1;
		d->tos = tos;
		at += size;
	} while (at < length && batch->count < BATCH_DATAGRAMS);
}

int
datagram_receive(int fd, struct batch *batch)
{
	int n;

	reset_msgs(batch);
	do
		n = recvmmsg(fd, batch->msg, BATCH_MSGS, MSG_DONTWAIT, NULL);
	while (n == -1 && errno == EINTR);
	batch->count = 0;
	batch->n_msgs = n == -1 ? 0 : (size_t)n;
	for (size_t i = 0; i < batch->n_msgs && batch->count < BATCH_DATAGRAMS;
	     i++)
		split_gro(batch, i);
	if (batch->count)
		batch->datagram[batch->count - 1].next = NULL;
	return n == -1 ? -1 : 0;
}

int
datagram_receive_one(int fd, struct datagram *d, size_t size)
{
	_Alignas(8) unsigned char control[DATAGRAM_CONTROL];
	struct iovec iov = {d->data, size};
	struct mmsghdr msg = {.msg_hdr = {
				  .msg_name = &d->key->peer,
				  .msg_namelen = sizeof(d->key->peer),
				  .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof(control),
			      }};

	*d->key = (struct flow_key){0};
	if (recvmmsg(fd, &msg, 1, MSG_DONTWAIT, NULL) != 1)
		return -1;
	d->length = msg.msg_len;
	read_control(d->key, &msg.msg_hdr, &d->tos);
	return 0;
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

/*
 * Addresses a message to the peer, from the local address that the peer sent
 * to, unless that is unset: then from the address that the socket is bound to.
 */
static void
set_reply_addr(struct msghdr *msg, const struct flow_key *to)
{
	struct in6_pktinfo six = {.ipi6_addr = to->local};
	struct in_pktinfo four = {0};

	msg->msg_name = (void *)(uintptr_t)&to->peer;
	if (to->peer.sa.sa_family == AF_INET) {
		memcpy(&four.ipi_spec_dst, &to->local, 4);
		if (four.ipi_spec_dst.s_addr)
			add_control(msg, IPPROTO_IP, IP_PKTINFO, &four,
			    sizeof(four));
		msg->msg_namelen = sizeof(to->peer.v4);
	} else {
		six.ipi6_ifindex = to->peer.v6.sin6_scope_id;
		add_control(msg, IPPROTO_IPV6, IPV6_PKTINFO, &six, sizeof(six));
		msg->msg_namelen = sizeof(to->peer.v6);
	}
}

/* Adds the type of service, which is 0 without control data. */
static void
set_tos(struct msghdr *msg, const struct send_to *to, uint8_t tos)
{
	const int value = tos;

	if (!tos)
		return;
	if (to->family == AF_INET)
		add_control(msg, IPPROTO_IP, IP_TOS, &value, sizeof(value));
	else
		add_control(msg, IPPROTO_IPV6, IPV6_TCLASS, &value,
		    sizeof(value));
}

/* Adds the head to a message. Returns false if iov[] has no room for both. */
static bool
add_head(struct send_batch *out, struct msghdr *msg, const struct iovec *head)
{
	if (out->n_parts + 2 > BATCH_MSGS)
		return false;
	msg->msg_iov[msg->msg_iovlen++] = *head;
	out->n_parts++;
	return true;
}

/*
 * Adds a datagram to a message. Extends the last part if the datagram lies
 * behind it, as datagrams do that were received joined. Returns false if iov[]
 * is full.
 */
static bool
add_part(struct send_batch *out, struct msghdr *msg, const struct datagram *d,
    const struct iovec *head)
{
	struct iovec *next;

	if (head->iov_len && !add_head(out, msg, head))
		return false;
	next = msg->msg_iov + msg->msg_iovlen;
	if (msg->msg_iovlen && !head->iov_len &&
	    d->data == (unsigned char *)next[-1].iov_base + next[-1].iov_len) {
		next[-1].iov_len += d->length;
		return true;
	}
	if (out->n_parts == BATCH_MSGS)
		return false;
	*next = (struct iovec){d->data, d->length};
	out->n_parts++;
	msg->msg_iovlen++;
	return true;
}

/*
 * Fills a message from the list. A shorter datagram can only end a run. A run
 * has one type of service, because a message has.
 */
static struct gso_run
next_run(struct send_batch *out, struct msghdr *msg, struct datagram *list,
    const struct send_to *to)
{
	const size_t size = list->length;
	struct gso_run run = {0};
	struct datagram *d = list;
	const size_t gso_max = *to->gso_max;
	size_t last;

	while (add_part(out, msg, d, &to->head)) {
		run.count++;
		run.bytes += last = d->length;
		d = d->next;
		if (!d || last < size || size > gso_max || d->length > size ||
		    d->length == 0 || d->tos != list->tos ||
		    run.count == GSO_SEGMENTS_MAX ||
		    run.bytes + d->length + (run.count + 1) * to->head.iov_len >
			GSO_BYTES_MAX)
			break;
	}
	run.end = d;
	return run;
}

/* Fills as many messages as iov[] has parts for. */
static void
build_msgs(struct send_batch *out, const struct send_to *to,
    struct datagram *list)
{
	const size_t parts = to->head.iov_len ? 2 : 1; /* of a datagram */

	out->n_msgs = 0;
	out->n_parts = 0;
	while (list && out->n_parts + parts <= BATCH_MSGS) {
		struct msghdr *msg = &out->msg[out->n_msgs].msg_hdr;
		struct gso_run *run = &out->run[out->n_msgs];
		uint16_t size = (uint16_t)(list->length + to->head.iov_len);

		*msg = (struct msghdr){.msg_iov = &out->iov[out->n_parts],
		    .msg_control = out->control[out->n_msgs]};
		*run = next_run(out, msg, list, to);
		if (to->key)
			set_reply_addr(msg, to->key);
		set_tos(msg, to, list->tos);
		if (run->count > 1)
			add_control(msg, SOL_UDP, UDP_SEGMENT, &size,
			    sizeof(size));
		list = run->end;
		out->n_msgs++;
	}
}

/* Calls the kernel itself, because musl's sendmmsg(3) loops over sendmsg(2). */
static int
send_msgs(int fd, struct send_batch *out)
{
	return (int)syscall(SYS_sendmmsg, fd, out->msg, out->n_msgs,
	    MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Returns true if the error can be about UDP_SEGMENT, or about its size. */
static bool
is_gso_error(int err)
{
	return err == EINVAL || err == EMSGSIZE || err == EIO ||
	    err == ENOPROTOOPT || err == EOPNOTSUPP;
}

/* Counts runs as sent. Returns the first datagram that was not sent. */
static struct datagram *
count_sent(struct sending *s, const struct gso_run *run, int n_runs)
{
	for (int i = 0; i < n_runs; i++) {
		s->result->datagrams += run[i].count;
		s->result->bytes += run[i].bytes;
	}
	s->old_gso_max = 0;
	s->retried = false;
	return run[n_runs - 1].end;
}

/*
 * Counts a run as lost. Restores *gso_max, because the size is not the cause if
 * datagrams are refused both joined and alone. Returns the datagram after the
 * run.
 */
static struct datagram *
count_lost(struct sending *s, const struct gso_run *run, int error)
{
	s->result->lost += run->count;
	s->result->error = error;
	if (s->old_gso_max)
		*s->gso_max = s->old_gso_max;
	s->old_gso_max = 0;
	s->retried = false;
	return run->end;
}

/*
 * Returns true if the run is to be sent again: once after an ICMP error,
 * because that error is about an earlier datagram; and with a lower *gso_max if
 * the run may be refused only because its datagrams are joined.
 */
static bool
prepare_retry(struct sending *s, const struct gso_run *run, size_t size,
    int error)
{
	if (error == EINTR)
		return true;
	if (datagram_is_icmp_error(error) && !s->retried) {
		s->result->refused = s->retried = true;
		return true;
	}
	if (run->count == 1 || !is_gso_error(error))
		return false;
	s->old_gso_max = *s->gso_max;
	*s->gso_max = (uint16_t)(size - 1);
	return true;
}

void
datagram_send(const struct send_to *to, struct datagram *list,
    struct send_result *result)
{
	struct sending s = {.result = result, .gso_max = to->gso_max};
	struct send_batch out;

	while (list) {
		int n;

		build_msgs(&out, to, list);
		n = send_msgs(to->fd, &out);
		if (n > 0)
			list = count_sent(&s, out.run, n);
		else if (!prepare_retry(&s, out.run, list->length, errno))
			list = count_lost(&s, out.run, errno);
	}
}
