package edgemtp.core.device

private val STATUS_WORDS = listOf("NONE", "LIGHT", "MODERATE", "SEVERE", "CRITICAL", "EMERGENCY", "SHUTDOWN")
private val LEVELS = listOf(0, 1, 1, 2, 3, 3, 3)

/** The log's level 0 to 3 of Android's thermal [status] 0 to 6; null where it is no status. */
fun thermalLevel(status: Int?): Int? = status?.let(LEVELS::getOrNull)

/** Android's word for its thermal [status], the number where it has none. */
fun thermalWord(status: Int?): String? = status?.let { STATUS_WORDS.getOrNull(it) ?: it.toString() }
