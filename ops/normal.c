/* SPDX-License-Identifier: Apache-2.0 */
/* ops/normal.c - the inverse of the normal distribution: Wichura, AS 241 (1988), PPND16. */
#include "ek/mask.h"

#include <math.h>

enum { TERMS = 8 };

/* Polynomials of the paper, highest power first: of the middle, of r <= 5, of the tail. */
static const double middle[2][TERMS] = {
    {2.5090809287301226727e+3, 3.3430575583588128105e+4, 6.7265770927008700853e+4,
     4.5921953931549871457e+4, 1.3731693765509461125e+4, 1.9715909503065514427e+3,
     1.3314166789178437745e+2, 3.3871328727963666080e0},
    {5.2264952788528545610e+3, 2.8729085735721942674e+4, 3.9307895800092710610e+4,
     2.1213794301586595867e+4, 5.3941960214247511077e+3, 6.8718700749205790830e+2,
     4.2313330701600911252e+1, 1.0}};
static const double near[2][TERMS] = {
    {7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
     1.27045825245236838258e0, 3.64784832476320460504e0, 5.76949722146069140550e0,
     4.63033784615654529590e0, 1.42343711074968357734e0},
    {1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
     1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e0,
     2.05319162663775882187e0, 1.0}};
static const double tail[2][TERMS] = {
    {2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3,
     2.65321895265761230930e-2, 2.96560571828504891230e-1, 1.78482653991729133580e0,
     5.46378491116411436990e0, 6.65790464350110377720e0},
    {2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5,
     7.86869131145613259100e-4, 1.48753612908506148525e-2, 1.36929880922735805310e-1,
     5.99832206555887937690e-1, 1.0}};

static double ratio(const double c[2][TERMS], double r)
{
    double up = c[0][0], down = c[1][0];
    for (int i = 1; i < TERMS; i++) up = up * r + c[0][i], down = down * r + c[1][i];
    return up / down;
}

double ek_inverse_normal(double p)
{
    const double q = p - 0.5;
    if (!(p >= 0 && p <= 1)) return (double)NAN;
    if (p == 0) return -(double)INFINITY;
    if (p == 1) return (double)INFINITY;
    if (fabs(q) <= 0.425) return q * ratio(middle, 0.180625 - q * q);
    const double r = sqrt(-log(q < 0 ? p : 1 - p)); /* 1 - p is exact from 0.5 up */
    const double z = r <= 5 ? ratio(near, r - 1.6) : ratio(tail, r - 5);
    return q < 0 ? -z : z;
}
