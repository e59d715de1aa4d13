/*
 * ports.h - which ports of the machine's range are given to whom.
 */
#ifndef BORGLET_PORTS_H
#define BORGLET_PORTS_H

#include "err.h"

struct ports {
    uint16_t first, last; /* inclusive; first > last: no ports at all */
    uint32_t next;        /* where to look next: what was just given back rests a while */
    uint8_t taken[8192];  /* a bit per port */
};

/* "20000-20999" */
int ports_parse(const char *text, struct ports *ret, struct err *err) MUST_USE;
uint32_t ports_count(const struct ports *ports);
/* A call tries no more ports that others have; the next one goes on behind them. */
enum { PORTS_TRIES_MAX = 2048 };
/*
 * Take `count` ports that nobody has now, neither TCP nor UDP, neither IPv4 nor IPv6, on neither
 * all addresses nor loopback: all or none. ERR_UNAVAILABLE.
 */
int ports_take(struct ports *ports, uint32_t count, uint16_t *ret, struct err *err) MUST_USE;
/* An attempt that is already there has this one. */
void ports_mark(struct ports *ports, uint16_t port);
void ports_give_back(struct ports *ports, const uint16_t *list, uint32_t count);

#endif
