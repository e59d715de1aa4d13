/*
 * control.c - the control socket, for the borglet that started the shim and for later ones.
 *
 * Only clients of the same user and of root are accepted. A client that does not read its events is
 * disconnected; it can connect again and gets the state.
 */
#include "shim.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int client_add(struct shim *s, int fd, struct client **ret)
{
    for (size_t i = 0; i < SHIM_CLIENTS_MAX; i++) {
        struct client *c = &s->clients[i];
        if (c->fd >= 0)
            continue;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
            return errno;
        *c = (struct client){.fd = fd};
        *ret = c;
        return 0;
    }
    return EMFILE;
}

static void client_close(struct client *c)
{
    close(c->fd);
    c->fd = -1;
}

/* Treat the client as one of version 3. False: this shim does not speak that version. */
static bool client_without_hello(struct client *c)
{
    if (c->greeted || SHIM_VERSION_MIN >= SHIM_VERSION_RANGES)
        return false;
    c->version = SHIM_VERSION_RANGES - 1;
    return true;
}

int control_open(struct shim *s)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "ctl.sock"};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &s->listen_fd};
    struct client *starter;

    for (size_t i = 0; i < SHIM_CLIENTS_MAX; i++)
        s->clients[i].fd = -1;
    int error = client_add(s, SHIM_FD, &starter);
    if (error != 0)
        return error;
    control_read(s, starter);
    /* A borglet of version 3 waits for events on this socket without a request. */
    if (starter->fd >= 0 && !starter->greeted)
        starter->subscribed = client_without_hello(starter);
    s->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listen_fd < 0)
        return errno;
    if (bind(s->listen_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(s->listen_fd, SHIM_CLIENTS_MAX) < 0 ||
        epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->listen_fd, &event) < 0)
        return errno;
    return 0;
}

void control_accept(struct shim *s)
{
    struct ucred peer;
    struct client *client;
    socklen_t size = sizeof(peer);
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ||
        (peer.uid != geteuid() && peer.uid != 0) || client_add(s, fd, &client) != 0)
        close(fd);
}

static void client_send(struct shim *s, struct client *c, enum shim_message_kind kind)
{
    uint32_t version = c->version != 0 ? c->version : SHIM_VERSION_MAX;
    size_t size = offsetof(struct shim_message, state) + shim_state_bytes(version);
    struct shim_message message = {.version = version, .kind = kind, .state = s->state};

    message.state.dropped_bytes[0] = s->logs[0].dropped;
    message.state.dropped_bytes[1] = s->logs[1].dropped;
    if (send(c->fd, &message, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        client_close(c);
}

void control_send_all(struct shim *s, enum shim_message_kind kind)
{
    for (size_t i = 0; i < SHIM_CLIENTS_MAX; i++)
        if (s->clients[i].fd >= 0 && s->clients[i].subscribed)
            client_send(s, &s->clients[i], kind);
}

bool control_in_use(const struct shim *s)
{
    for (size_t i = 0; i < SHIM_CLIENTS_MAX; i++)
        if (s->clients[i].fd >= 0)
            return true;
    return false;
}

/* Agree on a version. A client without a common one learns our range and nothing else. */
static void hello_serve(struct shim *s, struct client *c, const struct shim_request *request)
{
    const struct shim_hello answer = {.version = SHIM_VERSION_FIRST,
                                      .kind = SHIM_HELLO_ANSWER,
                                      .version_min = SHIM_VERSION_MIN,
                                      .version_max = SHIM_VERSION_MAX};
    struct shim_hello hello;

    memcpy(&hello, request, sizeof(hello));
    c->greeted = true;
    c->version = shim_version_common(hello.version_min, hello.version_max);
    c->subscribed = c->version != 0;
    if (send(c->fd, &answer, sizeof(answer), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        client_close(c);
    else if (c->version != 0)
        client_send(s, c, SHIM_STATE);
}

static void request_serve(struct shim *s, struct client *c, const struct shim_request *request)
{
    switch (request->kind) {
    case SHIM_SUBSCRIBE:
        c->subscribed = true;
        client_send(s, c, SHIM_STATE);
        return;
    case SHIM_STATUS:
        client_send(s, c, SHIM_STATE);
        return;
    case SHIM_SIGNAL:
        if (request->signal <= 0 || request->signal >= NSIG)
            break;
        if (s->state.phase == SHIM_RUNNING && !s->main_ended)
            kill(-s->state.task_pid, request->signal);
        return;
    case SHIM_STOP:
        task_stop(s, request->grace_ms);
        return;
    case SHIM_ACK_EXIT:
        /* An early acknowledgement would lose the status that is still to come. */
        if (s->state.phase != SHIM_ENDED)
            break;
        s->acked = true;
        return;
    default:
        break;
    }
    client_send(s, c, SHIM_REFUSED);
}

void control_read(struct shim *s, struct client *client)
{
    struct shim_request request;
    /* A newer client may have appended fields; they are cut off. */
    ssize_t n = recv(client->fd, &request, sizeof(request), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        client_close(client);
        return;
    }
    if (n != (ssize_t)sizeof(request) || request.version < SHIM_VERSION_FIRST)
        client_send(s, client, SHIM_REFUSED);
    else if (request.kind == SHIM_HELLO)
        hello_serve(s, client, &request);
    else if (client->version == 0 && !client_without_hello(client))
        client_send(s, client, SHIM_REFUSED);
    else
        request_serve(s, client, &request);
}
