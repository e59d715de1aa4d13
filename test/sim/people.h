/*
 * people.h - who lives in the simulated cell: machines with borglets, users, and those who watch.
 */
#ifndef SIM_PEOPLE_H
#define SIM_PEOPLE_H

#include "base.h"

enum { PEOPLE_MACHINES = 8, PEOPLE_USERS = 6 };

/* After world_cell_start(). */
void people_start(void);
/* Nothing is broken any more: users finish what they have begun, the cell has to come to rest. */
void people_rest(void);
/* One line of what they did. */
void people_tell(void);

#endif
