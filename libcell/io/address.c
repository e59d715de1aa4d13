/*
 * address.c - "host:port" to socket addresses and back.
 */
#include "resolver.h"
#include "stream_impl.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int port_parse(const char *text, uint16_t *ret_port)
{
    size_t length = strlen(text);
    if (length == 0 || length > 5 || strspn(text, "0123456789") != length)
        return -1;
    unsigned long port = strtoul(text, NULL, 10);
    if (port > UINT16_MAX)
        return -1;
    *ret_port = (uint16_t)port;
    return 0;
}

/* Split "host:port" or "[v6]:port"; return -1 for any other form. */
static int address_split(const char *address, char host[CELL_ADDR_MAX + 1], uint16_t *ret_port)
{
    size_t length = strlen(address);
    const char *colon = strrchr(address, ':');
    if (length > CELL_ADDR_MAX || colon == NULL || port_parse(colon + 1, ret_port) != 0)
        return -1;
    size_t host_length = (size_t)(colon - address);
    bool bracketed = host_length >= 2 && address[0] == '[' && address[host_length - 1] == ']';
    if (bracketed) {
        address++;
        host_length -= 2;
    }
    memcpy(host, address, host_length);
    host[host_length] = '\0';
    if (host_length == 0 || strpbrk(host, "[] \t") != NULL)
        return -1;
    return (strchr(host, ':') != NULL) == bracketed ? 0 : -1;
}

int address_read(const char *address, struct sockaddr_storage *ret, char host[CELL_ADDR_MAX + 1],
                 uint16_t *ret_port, struct err *err)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)ret;
    *ret = (struct sockaddr_storage){0};
    if (address_split(address, host, ret_port) == 0) {
        if (uv_ip4_addr(host, *ret_port, v4) == 0 || uv_ip6_addr(host, *ret_port, v6) == 0)
            host[0] = '\0';
        if (strchr(host, ':') == NULL) /* no name contains a colon, so it is not looked up */
            return 0;
    }
    return err_set(
        err, ERR_INVALID,
        "\"%.80s\" is not an address: expected HOST:PORT or [IPV6]:PORT, %d bytes at most", address,
        CELL_ADDR_MAX);
}

void address_set_port(struct sockaddr_storage *address, uint16_t port)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)address;
    if (address->ss_family == AF_INET)
        v4->sin_port = htons(port);
    else if (address->ss_family == AF_INET6)
        v6->sin6_port = htons(port);
}

int address_parse(const char *address, struct sockaddr_storage *ret, struct err *err)
{
    char host[CELL_ADDR_MAX + 1];
    uint16_t port;
    int rc = address_read(address, ret, host, &port, err);
    if (rc != 0 || host[0] == '\0')
        return rc;
    rc = resolver_wait(host, ret, err);
    if (rc != 0)
        return err_wrap(err, "%s", address);
    address_set_port(ret, port);
    return 0;
}

void address_print(const struct sockaddr_storage *address, char ret[CELL_ADDR_MAX + 1])
{
    char host[INET6_ADDRSTRLEN] = "";
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    if (address->ss_family == AF_INET) {
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(ret, CELL_ADDR_MAX + 1, "%s:%u", host, (unsigned)ntohs(v4->sin_port));
    } else if (address->ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(ret, CELL_ADDR_MAX + 1, "[%s]:%u", host, (unsigned)ntohs(v6->sin6_port));
    } else {
        str_copy(ret, CELL_ADDR_MAX + 1, "unknown");
    }
}
