// The vectors of raytrace.c, in a translation unit of their own: each operation is a call, with
// vectors passed in memory.
#include "raytrace.h"

Vector vector_add(Vector a, Vector b) { return (Vector){a.x + b.x, a.y + b.y, a.z + b.z}; }

Vector vector_subtract(Vector a, Vector b) { return (Vector){a.x - b.x, a.y - b.y, a.z - b.z}; }

Vector vector_scale(Vector a, double factor) {
    return (Vector){a.x * factor, a.y * factor, a.z * factor};
}

double vector_dot(Vector a, Vector b) { return a.x * b.x + a.y * b.y + a.z * b.z; }

Vector vector_normalize(Vector a) {
    return vector_scale(a, 1 / __builtin_sqrt(vector_dot(a, a)));
}

Vector vector_reflect(Vector a, Vector normal) {
    return vector_subtract(a, vector_scale(normal, 2 * vector_dot(a, normal)));
}
