/*
 * raftlog_files.h - a look at the library's files before it opens them. The simulator has its own.
 */
#ifndef RAFTLOG_FILES_H
#define RAFTLOG_FILES_H

#include "err.h"

/* Does the directory hold files of a log? */
bool raftlog_files_any(const char *dir);

/*
 * ERR_CORRUPT, and the file, for damage that the library passes over or does not survive: it cuts
 * an open segment at the first bad batch, whatever follows, and hangs in a snapshot without an end.
 * A crash leaves a bad batch only at the very end, because there is one batch in a write and one
 * write at a time (G12).
 */
int raftlog_files_check(const char *dir, struct err *err) MUST_USE;

/*
 * The library does not start without its metadata, which it keeps without a checksum and we do not
 * use once the seal has a term: make it what its first start would have written, if it is not.
 */
int raftlog_files_metadata(const char *dir, struct err *err) MUST_USE;

#endif
