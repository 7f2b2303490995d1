/* The version of this build, the same in every program of it. */
#ifndef RINGFENCE_VERSION_H
#define RINGFENCE_VERSION_H

#define RF_VERSION "0.1.0"

#endif
