// A ray tracer: eight random mirror spheres over a chequered floor, one light with shadows, a
// picture of `n` × `n` points in grey. Answers a checksum of the picture.
#include "raytrace.h"

#define SPHERES 8
#define DEPTH 4

typedef struct {
    Vector centre;
    double radius;
    double brightness;
} Sphere;

typedef struct {
    Vector origin, direction;
} Ray;

static Sphere spheres[SPHERES];
static const Vector LIGHT = {-4, 8, -3};

// How far along the ray the sphere is hit, or a negative number.
static double hit_sphere(const Sphere *sphere, const Ray *ray) {
    Vector to_origin = vector_subtract(ray->origin, sphere->centre);
    double b = vector_dot(to_origin, ray->direction);
    double c = vector_dot(to_origin, to_origin) - sphere->radius * sphere->radius;
    double discriminant = b * b - c;
    if (discriminant < 0) return -1;
    double root = __builtin_sqrt(discriminant);
    return -b - root > 1e-6 ? -b - root : -b + root > 1e-6 ? -b + root : -1;
}

static const Sphere *nearest(const Ray *ray, double *distance) {
    const Sphere *best = NULL;
    for (uint32_t i = 0; i < SPHERES; i++) {
        double at = hit_sphere(&spheres[i], ray);
        if (at > 0 && (!best || at < *distance)) {
            best = &spheres[i];
            *distance = at;
        }
    }
    return best;
}

static double lit(Vector point, Vector normal) {
    Vector to_light = vector_subtract(LIGHT, point);
    Ray shadow = {point, vector_normalize(to_light)};
    double distance, slope = vector_dot(normal, shadow.direction);
    if (slope < 0 || nearest(&shadow, &distance)) return 0.1;
    return 0.1 + 0.9 * slope;
}

static double trace(const Ray *ray, uint32_t depth) {
    double distance;
    const Sphere *sphere = nearest(ray, &distance);
    if (sphere) {
        Vector point = vector_add(ray->origin, vector_scale(ray->direction, distance));
        Vector normal = vector_normalize(vector_subtract(point, sphere->centre));
        double direct = lit(point, normal) * sphere->brightness;
        if (depth == 0) return direct;
        Ray mirrored = {point, vector_reflect(ray->direction, normal)};
        return 0.6 * direct + 0.4 * trace(&mirrored, depth - 1);
    }
    if (ray->direction.y < 0) {
        double to_floor = -ray->origin.y / ray->direction.y;
        Vector point = vector_add(ray->origin, vector_scale(ray->direction, to_floor));
        if (point.x * point.x + point.z * point.z > 1e4) return 0.5;
        bool light = ((int32_t)(point.x + 1000) + (int32_t)(point.z + 1000)) & 1;
        return lit(point, (Vector){0, 1, 0}) * (light ? 0.9 : 0.3);
    }
    return 0.5 + 0.5 * ray->direction.y;
}

int64_t run(int32_t n) {
    Random random = {17};
    for (uint32_t i = 0; i < SPHERES; i++) {
        double radius = 0.4 + random_unit(&random);
        spheres[i].centre.x = random_unit(&random) * 8 - 4;
        spheres[i].centre.y = radius;
        spheres[i].centre.z = random_unit(&random) * 6 - 1;
        spheres[i].radius = radius;
        spheres[i].brightness = 0.5 + 0.5 * random_unit(&random);
    }
    uint64_t checksum = 0;
    for (int32_t row = 0; row < n; row++) {
        for (int32_t column = 0; column < n; column++) {
            Vector to = {2.0 * column / n - 1, 1 - 2.0 * row / n, 1.5};
            Ray ray = {{0, 1.5, -6}, vector_normalize(to)};
            checksum = mix(checksum, (uint64_t)(trace(&ray, DEPTH) * 255));
        }
    }
    return (int64_t)checksum;
}
