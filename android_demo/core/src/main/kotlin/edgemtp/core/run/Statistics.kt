package edgemtp.core.run

import edgemtp.core.plan.SplitMix64

private const val RESAMPLES = 2000

/** The [share] quantile of [sorted] (ascending, not empty), linear between neighbours: Hyndman and Fan's type 7. */
fun quantile(
    sorted: List<Double>,
    share: Double,
): Double {
    val place = share * (sorted.size - 1)
    val below = place.toInt()
    val above = minOf(below + 1, sorted.size - 1)
    return sorted[below] + (place - below) * (sorted[above] - sorted[below])
}

/** The median of [values], null of none. */
fun median(values: List<Double>): Double? = if (values.isEmpty()) null else quantile(values.sorted(), 0.5)

/** The geometric mean of [ratios] (all above 0, not empty). */
fun geometricMean(ratios: List<Double>): Double = Math.exp(ratios.sumOf { Math.log(it) } / ratios.size)

/**
 * The 95 % interval of the geometric mean of [ratios]: Efron's percentile bootstrap, 2,000 resamples drawn by
 * SplitMix64 from [seed]. Null of fewer than two.
 */
fun bootstrapInterval(
    ratios: List<Double>,
    seed: Long,
): ClosedFloatingPointRange<Double>? {
    if (ratios.size < 2) return null
    val random = SplitMix64(seed)
    val means = List(RESAMPLES) { geometricMean(List(ratios.size) { ratios[random.below(ratios.size)] }) }.sorted()
    return quantile(means, 0.025)..quantile(means, 0.975)
}
