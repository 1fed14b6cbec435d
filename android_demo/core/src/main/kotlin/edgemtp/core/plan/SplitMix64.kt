package edgemtp.core.plan

/**
 * SplitMix64 (Steele, Lea and Flood 2014): the draws that make a plan the same in every language.
 *
 * Seed 1234567 draws 6457827717110365317 first.
 */
class SplitMix64(
    seed: Long,
) {
    private var state: ULong = seed.toULong()

    /** The next 64 bits. */
    fun next(): ULong {
        state += 0x9E3779B97F4A7C15uL
        var mixed = state
        mixed = (mixed xor (mixed shr 30)) * 0xBF58476D1CE4E5B9uL
        mixed = (mixed xor (mixed shr 27)) * 0x94D049BB133111EBuL
        return mixed xor (mixed shr 31)
    }

    /** The next draw as a number from 0 until [bound]; its upper 32 bits are scaled. [bound] must fit 32 bits. */
    fun below(bound: Int): Int = (((next() shr 32) * bound.toULong()) shr 32).toInt()
}
