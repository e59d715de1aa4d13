/*
 * record_pack.h - any record as msgpack: an array of its fields, in the order of the table.
 *
 * Releases differ in how many fields a record has. Reading an array that is shorter than the table
 * gives the missing fields their initial values, as long as all fields of the first format are
 * there; what a longer array has behind the last field known here is skipped. So everything that
 * another release wrote can be read. Whether a field that others do not know may be used is decided
 * before it is written: see README.md, "Versions".
 */
#ifndef CELL_RECORD_PACK_H
#define CELL_RECORD_PACK_H

#include "pack.h"
#include "record.h"

/* One record inside something larger, in either direction. After a mistake an item that was read
 * may be half filled; record_release() frees it as if it were whole. */
void pack_record(struct pack *p, const struct record *record, void *item);

/* A record that is all there is. Writing appends to `to` and never fails: bounds are checked where
 * the bytes are read. Reading fills `ret` and refuses with ERR_CORRUPT, then nothing is owned. */
void record_pack(struct buf *to, const struct record *record, const void *item);
int record_unpack(const void *bytes, size_t size, const struct record *record, void *ret,
                  struct err *err) MUST_USE;

#endif
