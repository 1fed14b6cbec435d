package edgemtp.core.run

import edgemtp.core.device.Reading

/** Something that the user must know. [text] says what was found and what to do. */
sealed interface Notice {
    /** For the user, whole sentences. */
    val text: String

    /** The bundle cannot draft. */
    data object NoDrafter : Notice {
        override val text: String =
            "This bundle has no drafter, so MTP stays off. Export it with one: edge-mtp export TARGET DRAFTER."
    }

    /** The runtime does not start with the bundle. */
    data class RuntimeRefused(
        val reason: String,
    ) : Notice {
        override val text: String =
            "The runtime refuses this bundle: $reason. Look at it with edge-mtp inspect, or try the CPU backend."
    }

    /** The runtime starts, but not with drafting. */
    data class FellBack(
        val reason: String,
    ) : Notice {
        override val text: String = "The engine did not start with MTP, so it runs without: $reason."
    }

    /** Drafting was asked for and the runtime did not do it. */
    data class NotDrafting(
        val tokensPerCycle: Double,
    ) : Notice {
        override val text: String =
            "Drafting was requested but is not active: %.2f tokens a draft cycle, with drafting it is above %.2f. "
                .format(java.util.Locale.ROOT, tokensPerCycle, DRAFTING_TOKENS_PER_CYCLE) +
                "The runtime's own log says why; a missing GPU sampler library is a known cause."
    }

    /** Memory ran out. */
    data object OutOfMemory : Notice {
        override val text: String =
            "The phone ran out of memory. Close other apps and restart the phone, or take a smaller bundle."
    }

    /** Too little storage: [neededBytes] against [freeBytes]. */
    data class NotEnoughSpace(
        val neededBytes: Long,
        val freeBytes: Long,
    ) : Notice {
        override val text: String =
            "Not enough space: the bundle and the runtime's weight cache need ${gigabytes(neededBytes)}, " +
                "${gigabytes(freeBytes)} are free. Free ${gigabytes(neededBytes - freeBytes)} and try again."
    }

    /** A charger is connected. */
    data object ChargerPlugged : Notice {
        override val text: String =
            "A charger is plugged in: trials do not count, energy is not measured. Unplug it; the run waits."
    }

    /** The phone lacks [names]. */
    data class SensorsMissing(
        val names: List<String>,
    ) : Notice {
        override val text: String =
            "This phone does not tell: ${names.joinToString()}. The run goes on, and the log leaves these fields out."
    }

    /** The log could not be written. */
    data class LogNotWritten(
        val reason: String,
    ) : Notice {
        override val text: String =
            "The log could not be written: $reason. The run ended; what was written is kept. Free some storage."
    }

    /** Generations failed. */
    data class GenerationFailed(
        val reason: String,
    ) : Notice {
        override val text: String = "The runtime failed: $reason."
    }

    /** Something that nobody foresaw. */
    data class Unexpected(
        val reason: String,
    ) : Notice {
        override val text: String =
            "Something went wrong that the app does not know: $reason. Logs are kept; please report it with one."
    }

    /** A file is not what it should be. */
    data class BadFile(
        val reason: String,
    ) : Notice {
        override val text: String = reason
    }

    /** The app was killed while a run was going on. */
    data class Interrupted(
        val files: List<String>,
    ) : Notice {
        override val text: String =
            "The app was killed during a run; its log is kept and marked interrupted: ${files.joinToString()}."
    }
}

/** [bytes] as gigabytes (10^9) for people. */
fun gigabytes(bytes: Long): String = "%.2f GB".format(java.util.Locale.ROOT, bytes / 1e9)

/** What the [trials] of a run, its [fallback] and its [newest] reading have to say to the user. */
fun runNotices(
    trials: List<TrialResult>,
    fallback: String?,
    newest: Reading,
): List<Notice> {
    val silent = trials.filter { "not_drafting" in it.invalidReasons && "fallback" !in it.invalidReasons }
    val idle = silent.map { it.cycles }
    val missing = newest.missingSensors()
    return listOfNotNull(
        fallback?.let(Notice::FellBack),
        idle.reduceOrNull(CycleCount::plus)?.tokensPerCycle?.let(Notice::NotDrafting),
        Notice.ChargerPlugged.takeIf { trials.any { "charging" in it.invalidReasons } },
        missing.takeIf { it.isNotEmpty() }?.let(Notice::SensorsMissing),
    )
}
