/*
 * process.h - the first steps of a program, before it opens any file.
 */
#ifndef CELL_PROCESS_H
#define CELL_PROCESS_H

/* Open /dev/null for each standard descriptor that is closed. Otherwise a socket or a database
 * could get descriptor 1 and receive the next message, and libuv aborts when it must close one
 * of the three. */
void process_open_standard_files(void);

#endif
