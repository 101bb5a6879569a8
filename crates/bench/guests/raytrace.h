// Vectors of three numbers.
#ifndef RAYTRACE_H
#define RAYTRACE_H

#include "guest.h"

typedef struct {
    double x, y, z;
} Vector;

Vector vector_add(Vector a, Vector b);
Vector vector_subtract(Vector a, Vector b);
Vector vector_scale(Vector a, double factor);
double vector_dot(Vector a, Vector b);
Vector vector_normalize(Vector a);
// The direction of `a` after a mirror with this normal.
Vector vector_reflect(Vector a, Vector normal);

#endif
