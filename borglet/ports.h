/*
 * ports.h - the allocation of the ports in the machine's range.
 */
#ifndef BORGLET_PORTS_H
#define BORGLET_PORTS_H

#include "err.h"

struct ports {
    uint16_t first, last; /* inclusive; first > last: no ports at all */
    uint32_t next; /* where the next search begins, so that released ports are not reused at once */
    uint8_t taken[8192]; /* one bit per port */
};

/* "20000-20999" */
int ports_parse(const char *text, struct ports *ret, struct err *err) MUST_USE;
uint32_t ports_count(const struct ports *ports);
/* One call tries at most so many ports that are in use elsewhere; the next call continues behind
 * them. */
enum { PORTS_TRIES_MAX = 2048 };
/*
 * Take `count` ports that are free for TCP and UDP, IPv4 and IPv6, on all addresses and loopback:
 * all of them or none. ERR_UNAVAILABLE: there are not enough.
 */
int ports_take(struct ports *ports, uint32_t count, uint16_t *ret, struct err *err) MUST_USE;
/* Mark a port as taken by an existing attempt. */
void ports_mark(struct ports *ports, uint16_t port);
void ports_give_back(struct ports *ports, const uint16_t *list, uint32_t count);

#endif
