import Foundation

/// Figures over a handful of trials.
public enum Statistics {
  /// The value below which `share` (0 to 1) of the others lie, interpolated between neighbours; nil of none.
  public static func quantile(_ values: [Double], _ share: Double) -> Double? {
    guard !values.isEmpty else { return nil }
    let sorted = values.sorted()
    let place = share * Double(sorted.count - 1)
    let low = Int(place.rounded(.down))
    let high = min(low + 1, sorted.count - 1)
    return sorted[low] + (sorted[high] - sorted[low]) * (place - Double(low))
  }

  /// The middle value; nil of none.
  public static func median(_ values: [Double]) -> Double? { quantile(values, 0.5) }

  /// The mean of ratios: exp of the mean of logarithms. Nil of none, or of any that is not above 0.
  public static func geometricMean(_ ratios: [Double]) -> Double? {
    guard !ratios.isEmpty, ratios.allSatisfy({ $0 > 0 }) else { return nil }
    return exp(ratios.map { log($0) }.reduce(0, +) / Double(ratios.count))
  }

  /// The 95 % percentile bootstrap interval of the geometric mean (Efron 1979), 2,000 resamples; nil under two ratios.
  public static func bootstrapInterval(_ ratios: [Double], seed: UInt64) -> (low: Double, high: Double)? {
    guard ratios.count >= 2, geometricMean(ratios) != nil else { return nil }
    var draws = SplitMix64(seed: seed)
    let means = (0..<2000).compactMap { _ in
      geometricMean(ratios.indices.map { _ in ratios[draws.below(ratios.count)] })
    }
    guard let low = quantile(means, 0.025), let high = quantile(means, 0.975) else { return nil }
    return (low, high)
  }
}
