/*
 * people.h - the participants of the simulated cell: machines, users, checkers.
 */
#ifndef SIM_PEOPLE_H
#define SIM_PEOPLE_H

#include "base.h"

enum { PEOPLE_MACHINES = 8, PEOPLE_USERS = 6 };

/* Call it after world_cell_start(). */
void people_start(void);
/* After all faults have ended: users complete their calls, and the cell has to converge. */
void people_rest(void);
/* Print one line about their activity. */
void people_tell(void);

#endif
