/*
 * ports.c - a bitmap of the range. A port is checked by binding it, for TCP and UDP, IPv4 and IPv6,
 * on all addresses and loopback, before it is given to an attempt.
 */
#include "ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int ports_parse(const char *text, struct ports *ret, struct err *err)
{
    char *end;
    unsigned long first = strtoul(text, &end, 10), last = 0;
    bool good = end != text && *end == '-' && text[0] != '-';

    if (good) {
        const char *second = end + 1;
        last = strtoul(second, &end, 10);
        good = end != second && *end == '\0' && *second != '-';
    }
    if (!good || first < 1 || last > 65535 || first > last)
        return err_set(err, ERR_INVALID, "\"%s\" is not a range of ports like 20000-20999", text);
    memset(ret, 0, sizeof(*ret));
    ret->first = (uint16_t)first;
    ret->last = (uint16_t)last;
    return 0;
}

uint32_t ports_count(const struct ports *ports)
{
    return ports->first > ports->last ? 0U : (uint32_t)(ports->last - ports->first) + 1U;
}

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t address_make(int family, bool loopback, uint16_t port, union address *ret)
{
    *ret = (union address){.any.sa_family = (sa_family_t)family};
    if (family == AF_INET) {
        ret->v4.sin_port = htons(port);
        ret->v4.sin_addr.s_addr = htonl(loopback ? INADDR_LOOPBACK : INADDR_ANY);
        return sizeof(ret->v4);
    }
    ret->v6.sin6_port = htons(port);
    ret->v6.sin6_addr = loopback ? in6addr_loopback : in6addr_any;
    return sizeof(ret->v6);
}

/* Return whether a task could bind the port. A protocol that the machine lacks is no obstacle. */
static bool address_free(int family, int type, bool loopback, uint16_t port)
{
    union address address;
    socklen_t size = address_make(family, loopback, port, &address);
    int yes = 1;
    int fd = socket(family, type | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return errno == EAFNOSUPPORT;
    bool good = true;
    /* Bind one family only, whatever the default of the machine is; the other one is tried as
     * well. */
    if (family == AF_INET6)
        good = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes)) == 0;
    /* Set the option as servers do: a connection in TIME_WAIT is then no obstacle, but a
     * listener is. With UDP the option would share the port. */
    if (type == SOCK_STREAM)
        good = good && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0;
    if (good && bind(fd, &address.any, size) < 0)
        good = errno == EADDRNOTAVAIL; /* the family is switched off */
    else if (good && type == SOCK_STREAM)
        good = listen(fd, 1) == 0;
    close(fd);
    return good;
}

/* A program outside the cell may be using the port. */
static bool port_free(uint16_t port)
{
    static const int families[] = {AF_INET, AF_INET6}, types[] = {SOCK_STREAM, SOCK_DGRAM};

    for (size_t f = 0; f < ARRAY_SIZE(families); f++)
        for (size_t t = 0; t < ARRAY_SIZE(types); t++)
            if (!address_free(families[f], types[t], false, port) ||
                !address_free(families[f], types[t], true, port))
                return false;
    return true;
}

static bool taken(const struct ports *ports, uint32_t port)
{
    return (ports->taken[port / 8] >> (port % 8) & 1) != 0;
}

void ports_mark(struct ports *ports, uint16_t port)
{
    ports->taken[port / 8] = (uint8_t)(ports->taken[port / 8] | 1U << (port % 8));
}

void ports_give_back(struct ports *ports, const uint16_t *list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        ports->taken[list[i] / 8] = (uint8_t)(ports->taken[list[i] / 8] & ~(1U << (list[i] % 8)));
}

int ports_take(struct ports *ports, uint32_t count, uint16_t *ret, struct err *err)
{
    uint32_t size = ports_count(ports), found = 0, refused = 0;

    for (uint32_t tried = 0; tried < size && found < count && refused < PORTS_TRIES_MAX; tried++) {
        uint16_t port = (uint16_t)(ports->first + ports->next);
        ports->next = (ports->next + 1) % size;
        if (taken(ports, port))
            continue;
        if (!port_free(port)) {
            refused++;
            continue;
        }
        ports_mark(ports, port);
        ret[found++] = port;
    }
    if (found == count)
        return 0;
    ports_give_back(ports, ret, found);
    return err_set(err, ERR_UNAVAILABLE,
                   "no %" PRIu32 " free ports in %u-%u, other programs have %" PRIu32
                   " of those that were tried",
                   count, ports->first, ports->last, refused);
}
