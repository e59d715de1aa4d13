/*
 * net.c - namespaces, their TUN devices, and the rules.
 */
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MTU_BYTES = 9000, QUEUE_PACKETS = 4000 };

void net_address(uint32_t node, char ret[CELL_ADDR_MAX + 1])
{
    snprintf(ret, CELL_ADDR_MAX + 1, "10.66.0.%u", node + 1);
}

static int device_ioctl(int sock, unsigned long request, struct ifreq *ifr, const char *what,
                        struct err *err)
{
    return ioctl(sock, request, ifr) == 0
               ? 0
               : err_errno(err, errno, "cannot set the %s of device %s", what, ifr->ifr_name);
}

static int device_up(int sock, const char *name, struct err *err)
{
    struct ifreq ifr = {.ifr_flags = IFF_UP | IFF_RUNNING};
    str_copy(ifr.ifr_name, sizeof ifr.ifr_name, name);
    return device_ioctl(sock, SIOCSIFFLAGS, &ifr, "state", err);
}

static void device_address(struct ifreq *ifr, const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int ok = inet_pton(AF_INET, text, &address.sin_addr);
    ASSERT(ok == 1);
    memcpy(&ifr->ifr_addr, &address, sizeof address);
}

static int device_configure(const char *name, uint32_t node, struct err *err)
{
    char text[CELL_ADDR_MAX + 1];
    struct ifreq ifr = {0};
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (sock < 0)
        return err_errno(err, errno, "cannot make a socket");
    str_copy(ifr.ifr_name, sizeof ifr.ifr_name, name);
    net_address(node, text);
    device_address(&ifr, text);
    int rc = device_ioctl(sock, SIOCSIFADDR, &ifr, "address", err);
    device_address(&ifr, "255.255.255.0");
    if (rc == 0)
        rc = device_ioctl(sock, SIOCSIFNETMASK, &ifr, "netmask", err);
    ifr.ifr_mtu = MTU_BYTES;
    if (rc == 0)
        rc = device_ioctl(sock, SIOCSIFMTU, &ifr, "packet size", err);
    ifr.ifr_qlen = QUEUE_PACKETS;
    if (rc == 0)
        rc = device_ioctl(sock, SIOCSIFTXQLEN, &ifr, "queue", err);
    if (rc == 0)
        rc = device_up(sock, name, err);
    if (rc == 0)
        rc = device_up(sock, "lo", err);
    close(sock);
    return rc;
}

/* Make a node; the calling process is in it afterwards. */
static int node_open(struct net *net, uint32_t node, struct err *err)
{
    struct ifreq ifr = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    if (unshare(CLONE_NEWNET) != 0)
        return err_errno(err, errno, "cannot make a network namespace");
    net->namespaces[node] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    net->tuns[node] = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (net->namespaces[node] < 0 || net->tuns[node] < 0)
        return err_errno(err, errno, "cannot open /dev/net/tun or /proc/self/ns/net");
    str_copy(ifr.ifr_name, sizeof ifr.ifr_name, "link0");
    if (ioctl(net->tuns[node], TUNSETIFF, &ifr) != 0)
        return err_errno(err, errno, "cannot make a TUN device");
    return device_configure(ifr.ifr_name, node, err);
}

static int switch_start(struct net *net, uint64_t seed, struct err *err)
{
    pid_t parent = getpid();
    net->pid = fork();
    if (net->pid < 0)
        return err_errno(err, errno, "cannot start the switch");
    if (net->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(0);
        switch_run(net->tuns, net->node_count, net->shared, seed);
    }
    for (uint32_t i = 0; i < net->node_count; i++)
        close(net->tuns[i]);
    return 0;
}

int net_open(struct net *net, uint32_t node_count, uint64_t seed, struct err *err)
{
    ASSERT(node_count <= NET_NODES_MAX);
    *net = (struct net){.node_count = node_count};
    net->shared =
        mmap(NULL, sizeof *net->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (net->shared == MAP_FAILED)
        return err_errno(err, errno, "cannot share memory");
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < node_count; i++)
        rc = node_open(net, i, err);
    if (rc == 0)
        rc = net_enter(net, NET_DESK, err);
    return rc == 0 ? switch_start(net, seed, err) : rc;
}

int net_enter(const struct net *net, uint32_t node, struct err *err)
{
    ASSERT(node < net->node_count);
    return setns(net->namespaces[node], CLONE_NEWNET) == 0
               ? 0
               : err_errno(err, errno, "cannot enter a network namespace");
}

bool net_has(const struct net *net, uint32_t node, pid_t pid)
{
    char path[64];
    struct stat ours, theirs;
    snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
    return fstat(net->namespaces[node], &ours) == 0 && stat(path, &theirs) == 0 &&
           ours.st_ino == theirs.st_ino;
}

void net_set(struct net *net, uint32_t from, uint32_t to, const struct net_rule *rule)
{
    ASSERT(from < net->node_count && to < net->node_count);
    struct net_path *path = &net->shared->paths[from][to];
    path->cut = rule->cut;
    path->delay_ms = rule->delay_ms;
    path->jitter_ms = rule->jitter_ms;
    path->loss_permille = rule->loss_permille;
    path->rate_kibs = rule->rate_kibs;
}
