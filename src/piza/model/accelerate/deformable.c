/* Deformable sampling: for every query and head, a weighted sum of bilinear samples of the levels of a pyramid.

   Layouts, all contiguous: value (batch, cells, heads, width), shapes (levels, 2) height and width, locations
   (batch, queries, heads, levels, points, 2) x and y in [0, 1] of a level, weights (batch, queries, heads, levels, points),
   out (batch, queries, heads, width). Rows first to last of batch * queries are written. What lies outside counts zero. */

#include <math.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
__attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#endif
void piza_sample(const float *restrict value, const int64_t *restrict shapes, const float *restrict locations,
                 const float *restrict weights, float *restrict out, int64_t first, int64_t last, int64_t queries,
                 int64_t cells, int64_t heads, int64_t width, int64_t levels, int64_t points) {
    const int64_t step = heads * width; /* from a cell to the next one */
    for (int64_t row = first; row < last; row++) {
        const float *image = value + row / queries * cells * step;
        for (int64_t head = 0; head < heads; head++) {
            float *restrict sum = out + (row * heads + head) * width;
            const float *weight = weights + (row * heads + head) * levels * points;
            const float *place = locations + (row * heads + head) * levels * points * 2;
            const float *level = image + head * width;
            for (int64_t k = 0; k < width; k++) sum[k] = 0.0f;
            for (int64_t l = 0; l < levels; l++) {
                const int64_t rows = shapes[2 * l], columns = shapes[2 * l + 1];
                for (int64_t p = 0; p < points; p++, weight++, place += 2) {
                    const float x = place[0] * columns - 0.5f, y = place[1] * rows - 0.5f;
                    if (!(x > -1.0f && y > -1.0f && x < columns && y < rows)) continue;
                    const int64_t x0 = (int64_t)floorf(x), y0 = (int64_t)floorf(y);
                    const int64_t left = x0 < 0 ? 0 : x0, top = y0 < 0 ? 0 : y0;
                    const int64_t right = x0 + 1 < columns ? x0 + 1 : columns - 1;
                    const int64_t bottom = y0 + 1 < rows ? y0 + 1 : rows - 1;
                    const float fx = x - x0, fy = y - y0;
                    const float wl = x0 < 0 ? 0.0f : 1.0f - fx, wr = x0 + 1 < columns ? fx : 0.0f;
                    const float wt = (y0 < 0 ? 0.0f : 1.0f - fy) * *weight;
                    const float wb = (y0 + 1 < rows ? fy : 0.0f) * *weight;
                    const float a = wt * wl, b = wt * wr, c = wb * wl, d = wb * wr;
                    const float *va = level + (top * columns + left) * step;
                    const float *vb = level + (top * columns + right) * step;
                    const float *vc = level + (bottom * columns + left) * step;
                    const float *vd = level + (bottom * columns + right) * step;
                    for (int64_t k = 0; k < width; k++) sum[k] += a * va[k] + b * vb[k] + c * vc[k] + d * vd[k];
                }
                level += rows * columns * step;
            }
        }
    }
}

/* The gradients of the sum above. back is the gradient of out; to_value (may be NULL: not needed) must hold zeros or what
   is to be added to; to_locations and to_weights are written. The work is cut into batch * heads parts, of which first to
   last are done: no two parts touch the same number, and the queries of a part come in order, so that the result does not
   depend on the cuts. At the center of a cell, where the sum has a kink, the derivative is that towards right and bottom. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
__attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#endif
void piza_sample_back(const float *restrict value, const int64_t *restrict shapes, const float *restrict locations,
                      const float *restrict weights, const float *restrict back, float *restrict to_value,
                      float *restrict to_locations, float *restrict to_weights, int64_t first, int64_t last,
                      int64_t queries, int64_t cells, int64_t heads, int64_t width, int64_t levels, int64_t points) {
    const int64_t step = heads * width, samples = levels * points;
    for (int64_t item = first / heads; item * heads < last; item++) {
        const int64_t low = first > item * heads ? first - item * heads : 0;
        const int64_t high = last < (item + 1) * heads ? last - item * heads : heads;
        for (int64_t query = 0; query < queries; query++) {
            for (int64_t head = low; head < high; head++) {
                const int64_t row = (item * queries + query) * heads + head;
                const float *restrict given = back + row * width;
                int64_t level = item * cells * step + head * width, at = row * samples;
                for (int64_t l = 0; l < levels; l++) {
                    const int64_t rows = shapes[2 * l], columns = shapes[2 * l + 1];
                    for (int64_t p = 0; p < points; p++, at++) {
                        const float x = locations[2 * at] * columns - 0.5f, y = locations[2 * at + 1] * rows - 0.5f;
                        float by_x = 0.0f, by_y = 0.0f, by_weight = 0.0f;
                        if (x >= -1.0f && y >= -1.0f && x < columns && y < rows) {
                            const int64_t x0 = (int64_t)floorf(x), y0 = (int64_t)floorf(y);
                            const float fx = x - x0, fy = y - y0, weight = weights[at];
                            for (int corner = 0; corner < 4; corner++) {
                                const int right = corner & 1, below = corner >> 1;
                                const int64_t column = x0 + right, line = y0 + below;
                                if (column < 0 || line < 0 || column >= columns || line >= rows) continue;
                                const float along = right ? fx : 1.0f - fx, down = below ? fy : 1.0f - fy;
                                const int64_t cell = level + (line * columns + column) * step;
                                const float *restrict from = value + cell;
                                float agreed = 0.0f;
                                if (to_value) {
                                    const float share = weight * along * down;
                                    float *restrict to = to_value + cell;
#pragma omp simd reduction(+ : agreed)
                                    for (int64_t k = 0; k < width; k++) {
                                        agreed += given[k] * from[k];
                                        to[k] += share * given[k];
                                    }
                                } else {
#pragma omp simd reduction(+ : agreed)
                                    for (int64_t k = 0; k < width; k++) agreed += given[k] * from[k];
                                }
                                by_weight += along * down * agreed;
                                by_x += right ? down * agreed : -down * agreed;
                                by_y += below ? along * agreed : -along * agreed;
                            }
                            by_x *= weight * columns;
                            by_y *= weight * rows;
                        }
                        to_locations[2 * at] = by_x;
                        to_locations[2 * at + 1] = by_y;
                        to_weights[at] = by_weight;
                    }
                    level += rows * columns * step;
                }
            }
        }
    }
}
