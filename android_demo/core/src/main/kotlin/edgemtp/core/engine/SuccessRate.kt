package edgemtp.core.engine

private val SUCCESS_RATE = Regex("MTP Drafter - Success rate: ([-+0-9.eE]+)")

/**
 * Accepted ÷ drafted (bonus tokens not counted), by the line that LiteRT-LM 0.18 logs once an engine is unloaded; the
 * last of several. Null where [log] has no such line or its number is none from 0 to 1.
 */
fun successRate(log: List<String>): Double? =
    log
        .mapNotNull { SUCCESS_RATE.find(it) }
        .lastOrNull()
        ?.groupValues
        ?.get(1)
        ?.toDoubleOrNull()
        ?.takeIf { it in 0.0..1.0 }
