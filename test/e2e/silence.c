/*
 * silence.c - a name server that never answers.
 *
 *     silence ADDRESS
 *
 * Receives on port 53 of the address and never answers, until it is killed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (argc != 2 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
        fprintf(stderr, "usage: silence ADDRESS\n");
        return 2;
    }
    if (fd < 0 || bind(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        fprintf(stderr, "silence: %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    puts("silent");
    fflush(stdout);
    for (;;)
        pause();
}
