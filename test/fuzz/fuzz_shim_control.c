/*
 * fuzz_shim_control.c - the control socket of a shim: clients may send anything, and need not read
 * the answers.
 *
 * The first byte is the state of the task: bits 0-1 are its phase, bit 2 means that its own process
 * has ended. Then follow steps of one byte, see step(): clients connect, disconnect, send requests,
 * stop reading; the task's state changes. Malformed requests are refused, others answered or
 * obeyed.
 */
#include "shim/shim.h"

#include <signal.h>

/* Replaces kill() in control.c. */
static int kill_checked(pid_t pid, int sig);
static int first_fd;
#define SHIM_FD first_fd
#define kill kill_checked
#include "shim/control.c"
#undef kill
#undef SHIM_FD

#include "scratch.h"

#include <poll.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { CLIENTS_MAX = SHIM_CLIENTS_MAX + 4, TASK_PID = 4711, TELLS = 50, END_WAIT_MS = 5000 };

static struct shim shim;
static int ends[CLIENTS_MAX];          /* the clients' side; -1: none */
static struct client *at[CLIENTS_MAX]; /* the client's entry in the shim */
static size_t owner[SHIM_CLIENTS_MAX]; /* the client of each entry */
static uint32_t kills, stops, stop_grace_ms;

static int kill_checked(pid_t pid, int sig)
{
    ASSERT(pid == -TASK_PID && sig > 0 && sig < NSIG);
    ASSERT(shim.state.phase == SHIM_RUNNING && !shim.main_ended);
    kills++;
    return 0;
}

/* Replaces task.c. */
void task_stop(struct shim *s, uint32_t grace_ms)
{
    ASSERT(s == &shim);
    stops++;
    stop_grace_ms = grace_ms;
}

/* The socket is in the attempt's directory, where the shim works; failing inputs are left in ours.
 */
static void in_scratch(bool enter)
{
    static int home = -1;
    if (home < 0)
        home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ASSERT(home >= 0 && (enter ? chdir(scratch()) : fchdir(home)) == 0);
}

static size_t in_use(void)
{
    size_t count = 0;
    for (size_t i = 0; i < SHIM_CLIENTS_MAX; i++)
        count += shim.clients[i].fd >= 0;
    ASSERT(control_in_use(&shim) == (count > 0));
    return count;
}

static bool is_connected(size_t which)
{
    return at[which] != NULL && owner[at[which] - shim.clients] == which && at[which]->fd >= 0;
}

/* Receive from that client: return -1 for nothing, 0 if it was disconnected, else 1 and the
 * message. */
static int receive(size_t which, struct shim_message *ret)
{
    ssize_t n = recv(ends[which], ret, sizeof *ret, MSG_DONTWAIT);
    if (n < 0)
        return errno == ECONNRESET || errno == ENOTCONN ? 0 : -1;
    bool hello = n == (ssize_t)sizeof(struct shim_hello) && ret->kind == SHIM_HELLO_ANSWER;
    ASSERT(n == 0 || hello ||
           (ret->version >= SHIM_VERSION_MIN && ret->version <= SHIM_VERSION_MAX &&
            (size_t)n == offsetof(struct shim_message, state) + shim_state_bytes(ret->version)));
    return n > 0;
}

/* Use small socket buffers for clients that do not read. */
static void placed(size_t which, struct client *place)
{
    int room = 0; /* the kernel's minimum */
    at[which] = place;
    owner[place - shim.clients] = which;
    ASSERT(setsockopt(place->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room) == 0);
}

static void drain(size_t which)
{
    struct shim_message message;
    while (receive(which, &message) > 0)
        continue;
}

/* Wait until the other end is closed. A process that reads our descriptors in /proc delays this. */
static void end_await(int fd)
{
    struct pollfd end = {.fd = fd, .events = POLLIN};
    ASSERT(poll(&end, 1, END_WAIT_MS) == 1);
}

static void client_end(size_t which)
{
    if (ends[which] < 0)
        return;
    close(ends[which]);
    ends[which] = -1;
    if (is_connected(which)) {
        end_await(at[which]->fd);
        control_read(&shim, at[which]);
    }
    ASSERT(!is_connected(which));
    at[which] = NULL;
}

/* Connect a client of the present user: it is accepted while there is room, else disconnected. */
static void client_come(size_t which)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "ctl.sock"};
    struct shim_message message;
    struct client *free_at = NULL;
    client_end(which);
    for (size_t i = SHIM_CLIENTS_MAX; i-- > 0;)
        free_at = shim.clients[i].fd < 0 ? &shim.clients[i] : free_at;
    ends[which] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    in_scratch(true);
    ASSERT(connect(ends[which], (struct sockaddr *)&address, sizeof address) == 0);
    in_scratch(false);
    size_t before = in_use();
    control_accept(&shim);
    ASSERT((free_at != NULL) == (before < SHIM_CLIENTS_MAX));
    ASSERT(in_use() == before + (free_at != NULL));
    if (free_at != NULL) {
        placed(which, free_at);
    } else {
        end_await(ends[which]);
        ASSERT(receive(which, &message) == 0);
        close(ends[which]);
        ends[which] = -1;
    }
}

/* What the shim must do with it: answer with that kind, or obey (-1). */
static int answer_to(const struct client *client, const uint8_t *bytes, size_t size)
{
    struct shim_request r;
    if (size < sizeof r)
        return SHIM_REFUSED;
    memcpy(&r, bytes, sizeof r);
    if (r.version < SHIM_VERSION_FIRST || r.kind > SHIM_HELLO)
        return SHIM_REFUSED;
    if (r.kind == SHIM_HELLO)
        return SHIM_HELLO_ANSWER;
    if (client->greeted && client->version == 0)
        return SHIM_REFUSED;
    if (r.kind == SHIM_STATUS || r.kind == SHIM_SUBSCRIBE)
        return SHIM_STATE;
    if (r.kind == SHIM_SIGNAL && (r.signal <= 0 || r.signal >= NSIG))
        return SHIM_REFUSED;
    if (r.kind == SHIM_ACK_EXIT && shim.state.phase != SHIM_ENDED)
        return SHIM_REFUSED;
    return -1;
}

static void obeyed(const uint8_t *bytes, uint32_t kills_before, uint32_t stops_before)
{
    struct shim_request r;
    memcpy(&r, bytes, sizeof r);
    bool killed = r.kind == SHIM_SIGNAL && shim.state.phase == SHIM_RUNNING && !shim.main_ended;
    ASSERT(kills == kills_before + killed);
    ASSERT(stops == stops_before + (r.kind == SHIM_STOP));
    ASSERT(r.kind != SHIM_STOP || stop_grace_ms == r.grace_ms);
    ASSERT(r.kind != SHIM_ACK_EXIT || shim.acked);
}

/* With a common version the state follows and every change is sent, else nothing. */
static void greeted(size_t which, const uint8_t *bytes)
{
    struct shim_message message;
    struct shim_hello hello;
    memcpy(&hello, bytes, sizeof hello);
    uint32_t common = shim_version_common(hello.version_min, hello.version_max);
    ASSERT(at[which]->greeted && at[which]->version == common);
    ASSERT(at[which]->subscribed == (common != 0));
    ASSERT(receive(which, &message) == (common != 0 ? 1 : -1));
    ASSERT(common == 0 || (message.kind == SHIM_STATE && message.version == common));
}

/* A request, or what is none. */
static void ask(size_t which, const uint8_t *bytes, size_t size)
{
    struct shim_message message;
    if (ends[which] < 0 || !is_connected(which))
        return;
    drain(which);
    uint32_t kills_before = kills, stops_before = stops;
    bool acked = shim.acked;
    const struct client client_before = *at[which];
    ASSERT(send(ends[which], bytes, size, MSG_NOSIGNAL) == (ssize_t)size);
    control_read(&shim, at[which]);
    if (size == 0) { /* as if it had closed */
        ASSERT(!is_connected(which));
        return;
    }
    int expected = answer_to(&client_before, bytes, size);
    int got = receive(which, &message);
    ASSERT(is_connected(which) && got == (expected < 0 ? -1 : 1));
    if (expected < 0) {
        obeyed(bytes, kills_before, stops_before);
        return;
    }
    ASSERT(message.kind == (uint32_t)expected);
    if (expected == SHIM_HELLO_ANSWER)
        greeted(which, bytes);
    else
        ASSERT(message.state.phase == shim.state.phase);
    ASSERT(kills == kills_before && stops == stops_before && shim.acked == acked);
}

/* Change the state; a subscriber that does not read is disconnected, and delays nobody. */
static void tell(uint32_t times, int phase)
{
    shim.state.phase = phase;
    for (uint32_t i = 0; i < times; i++)
        control_send_all(&shim, phase == SHIM_ENDED ? SHIM_EXIT : SHIM_STARTED);
    for (size_t i = 0; i < SHIM_CLIENTS_MAX && times == TELLS; i++)
        ASSERT(shim.clients[i].fd < 0 || !shim.clients[i].subscribed);
}

/* Execute one step; return the number of bytes that it used. */
static size_t step(uint8_t what, const uint8_t *bytes, size_t size)
{
    size_t which = what % 16 % CLIENTS_MAX, count;
    switch (what / 16) {
    case 0:
    case 1:
        client_come(which);
        return 0;
    case 2:
        client_end(which);
        return 0;
    case 3: /* an event for a client that has sent nothing */
        if (shim.clients[which % SHIM_CLIENTS_MAX].fd >= 0)
            control_read(&shim, &shim.clients[which % SHIM_CLIENTS_MAX]);
        return 0;
    case 4:
        tell(1, what % 3);
        return 0;
    case 5:
        tell(TELLS, what % 3);
        return 0;
    case 6:
        if (ends[which] >= 0)
            drain(which);
        return 0;
    case 7: /* any length */
        count = size > 0 ? MIN((size_t)bytes[0], size - 1) : 0;
        ask(which, bytes + (size > 0), count);
        return count + (size > 0);
    default:
        count = MIN(size, sizeof(struct shim_request));
        ask(which, bytes, count);
        return count;
    }
}

static void begin(uint8_t how)
{
    int pair[2];
    kills = stops = 0;
    memset(&shim, 0, sizeof shim);
    memset(at, 0, sizeof at);
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        ends[i] = -1;
    shim.state.phase = how % 4 % 3;
    shim.state.task_pid = TASK_PID;
    shim.main_ended = (how & 4) != 0;
    ASSERT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    shim.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    first_fd = pair[0];
    in_scratch(true);
    ASSERT(unlink("ctl.sock") == 0 || errno == ENOENT);
    ASSERT(control_open(&shim) == 0);
    in_scratch(false);
    ends[0] = pair[1];
    placed(0, &shim.clients[0]);
    ASSERT(in_use() == 1 && shim.clients[0].subscribed);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return 0;
    begin(bytes[0]);
    for (size_t i = 1; i < size;) {
        uint8_t what = bytes[i++];
        i += step(what, bytes + i, size - i);
        ASSERT(in_use() <= SHIM_CLIENTS_MAX);
    }
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        client_end(i);
    ASSERT(in_use() == 0);
    close(shim.listen_fd);
    close(shim.epoll_fd);
    return 0;
}
