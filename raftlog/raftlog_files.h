/*
 * raftlog_files.h - checks of the library's files before it opens them. The simulator has its own.
 */
#ifndef RAFTLOG_FILES_H
#define RAFTLOG_FILES_H

#include "err.h"

/* Return whether the directory holds files of a log. */
bool raftlog_files_any(const char *dir);

/*
 * Return ERR_CORRUPT, with the file, for damage that the library ignores or does not survive: it
 * cuts an open segment at the first bad batch, whatever follows, and it hangs on a snapshot without
 * an end. A crash leaves a bad batch only at the very end, because each write has one batch and
 * there is one write at a time (G12).
 */
int raftlog_files_check(const char *dir, struct err *err) MUST_USE;

/* Rewrite the library's metadata as its first start writes it, if it differs. The library needs
 * it to start but keeps it without a checksum; we do not use it once the seal has a term. */
int raftlog_files_metadata(const char *dir, struct err *err) MUST_USE;

#endif
