/*
 * process.c - the first steps of a program.
 */
#include "process.h"

#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void process_open_standard_files(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
            continue;
        /* open() returns the lowest free number, which is this one: the lower ones are open
         * already. */
        int null = open("/dev/null", O_RDWR | O_NOCTTY);
        if (null != fd)
            PANIC("cannot open /dev/null in place of descriptor %d: %s", fd, strerror(errno));
    }
}
