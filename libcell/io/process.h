/*
 * process.h - what a program of the house does first, before it opens anything.
 */
#ifndef CELL_PROCESS_H
#define CELL_PROCESS_H

/*
 * Open /dev/null in the place of each standard descriptor that is closed. A socket or a database
 * that got number 1 would be written to by the next message, and libuv aborts when it is to close
 * one of the three.
 */
void process_open_standard_files(void);

#endif
