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
        const float *picture = value + row / queries * cells * step;
        for (int64_t head = 0; head < heads; head++) {
            float *restrict sum = out + (row * heads + head) * width;
            const float *weight = weights + (row * heads + head) * levels * points;
            const float *place = locations + (row * heads + head) * levels * points * 2;
            const float *level = picture + head * width;
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
