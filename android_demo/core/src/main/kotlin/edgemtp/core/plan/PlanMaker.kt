package edgemtp.core.plan

import edgemtp.core.json.JsonArray
import edgemtp.core.json.jsonOf
import edgemtp.core.json.writeJson
import java.security.MessageDigest

/**
 * The [pairCount] pairs that [seed] gives for [prompts] (ids): the first pair's order is drawn, then flipped every
 * pair (ABBA) and once more every round, so that no prompt always starts with the same arm; prompts are shuffled by
 * Fisher and Yates. [blockS] decides between one prompt a pair and all of them, where orders just alternate.
 */
fun makePairs(
    seed: Long,
    prompts: List<String>,
    pairCount: Int,
    blockS: Int,
): List<Pairing> {
    val random = SplitMix64(seed)
    val first = if (random.below(2) == 0) Arm.SPEC_OFF else Arm.SPEC_ON
    val order = shuffled(prompts, random)
    return List(pairCount) { pair ->
        val start = pair % order.size
        val sustained = blockS >= SUSTAINED_BLOCK_S
        val chosen = if (sustained) order.drop(start) + order.take(start) else listOf(order[start])
        val flips = if (sustained) pair else start + pair / order.size
        Pairing(pair, if (flips % 2 == 0) first else first.other(), chosen)
    }
}

private fun shuffled(
    prompts: List<String>,
    random: SplitMix64,
): List<String> {
    val order = prompts.toMutableList()
    for (i in order.size - 1 downTo 1) {
        val j = random.below(i + 1)
        order[i] = order[j].also { order[j] = order[i] }
    }
    return order
}

/** sha256 (hexadecimal) of the compact JSON of [prompts], which names a prompt set beyond doubt. */
fun promptSetSha256(prompts: List<Prompt>): String {
    val list =
        prompts.map {
            jsonOf("id" to it.id, "prompt_class" to it.promptClass, "text" to it.text, "system" to it.system)
        }
    return sha256(writeJson(JsonArray(list)))
}

/** sha256 of [text] in UTF-8, hexadecimal. */
fun sha256(text: String): String = hexadecimal(MessageDigest.getInstance("SHA-256").digest(text.toByteArray()))

/** [bytes] as lower-case hexadecimal digits. */
fun hexadecimal(bytes: ByteArray): String =
    buildString {
        for (byte in bytes) {
            append(
                Character.forDigit((byte.toInt() shr 4) and 15, 16),
            ).append(Character.forDigit(byte.toInt() and 15, 16))
        }
    }
