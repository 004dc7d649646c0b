#ifndef LAB_GREET_H
#define LAB_GREET_H

/* The version of the library that was loaded, not of the header. */
int greet_version(void);

#endif
