/*
 * spec_fields.h - the fields of structs that both commands and messages carry.
 *
 * Only cmd_pack.c and wire*.c include this; everybody else packs whole commands and messages.
 */
#ifndef CELL_SPEC_FIELDS_H
#define CELL_SPEC_FIELDS_H

#include "cmd.h"
#include "pack.h"

void resources_fields(struct pack *p, struct resources *r, struct resource_names *names);
void attempt_ref_fields(struct pack *p, void *attempt_ref);
void words_fields(struct pack *p, struct words *words, uint32_t max);
void report_fields(struct pack *p, void *report);
/* Without next_id, which only the cell gives. */
void masters_fields(struct pack *p, struct masters *masters, uint32_t max);
void task_usage_fields(struct pack *p, void *task_usage);
/* Reading refuses a spec that takes more than SPEC_BYTES_MAX. */
void spec_fields(struct pack *p, void *job_spec);

#endif
