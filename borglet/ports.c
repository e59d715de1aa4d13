/*
 * ports.c - a bitmap of the range; each port is tried by listening on it before it is given out.
 */
#include "ports.h"

#include <arpa/inet.h>
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

/* Somebody outside the cell may be using it. */
static bool port_free(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_ANY)};
    int yes = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return false;
    /* As servers do: a connection in TIME_WAIT is no obstacle, another listener is. */
    bool good = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
                bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 1) == 0;
    close(fd);
    return good;
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
    uint32_t size = ports_count(ports), found = 0;

    for (uint32_t tried = 0; tried < size && found < count; tried++) {
        uint16_t port = (uint16_t)(ports->first + ports->next);
        ports->next = (ports->next + 1) % size;
        if (taken(ports, port) || !port_free(port))
            continue;
        ports_mark(ports, port);
        ret[found++] = port;
    }
    if (found == count)
        return 0;
    ports_give_back(ports, ret, found);
    return err_set(err, ERR_UNAVAILABLE, "no %" PRIu32 " free ports in %u-%u", count, ports->first,
                   ports->last);
}
