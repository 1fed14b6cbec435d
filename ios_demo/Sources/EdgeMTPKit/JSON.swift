import Foundation

/// A JSON value. Objects are written in the order they were made in; equality does not look at it.
public enum JSON: Sendable, Equatable {
  case null
  case bool(Bool)
  case integer(Int64)
  case number(Double)
  case text(String)
  case list([JSON])
  case object(Fields)

  /// Reads one JSON value. Throws `DataProblem` with the reader's own words where it is none.
  public static func parse(_ data: Data) throws(DataProblem) -> JSON {
    do {
      return try JSONDecoder().decode(JSON.self, from: data)
    } catch {
      throw DataProblem("not JSON", needed: "one JSON value in UTF-8", fix: "write the file anew")
    }
  }

  /// The member of an object; nil for every other value, and where the key is absent.
  public subscript(key: String) -> JSON? {
    if case .object(let fields) = self { fields[key] } else { nil }
  }

  /// The text of a text.
  public var text: String? { if case .text(let value) = self { value } else { nil } }
  /// The truth of a boolean.
  public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  /// The values of a list.
  public var list: [JSON]? { if case .list(let value) = self { value } else { nil } }
  /// The members of an object.
  public var fields: Fields? { if case .object(let value) = self { value } else { nil } }

  /// A whole number, also where it is written with a fraction of zero.
  public var integer: Int64? {
    switch self {
    case .integer(let value): value
    case .number(let value): Int64(exactly: value)
    default: nil
    }
  }

  /// Any number.
  public var number: Double? {
    switch self {
    case .integer(let value): Double(value)
    case .number(let value): value
    default: nil
    }
  }

  /// The same value. Numbers are compared as numbers: 1 and 1.0 are one.
  public static func == (left: JSON, right: JSON) -> Bool {
    switch (left, right) {
    case (.null, .null): true
    case (.bool(let one), .bool(let two)): one == two
    case (.text(let one), .text(let two)): one == two
    case (.list(let one), .list(let two)): one == two
    case (.object(let one), .object(let two)): one == two
    case (.integer(let one), .integer(let two)): one == two
    default: left.number != nil && left.number == right.number
    }
  }

  /// Wraps what may be absent.
  public static func optional(_ value: Double?) -> JSON? { value.flatMap { $0.isFinite ? .number($0) : nil } }
  /// Wraps what may be absent.
  public static func optional(_ value: Int?) -> JSON? { value.map { .integer(Int64($0)) } }
  /// Wraps what may be absent.
  public static func optional(_ value: Int64?) -> JSON? { value.map { .integer($0) } }
  /// Wraps what may be absent.
  public static func optional(_ value: Bool?) -> JSON? { value.map { .bool($0) } }
  /// Wraps what may be absent.
  public static func optional(_ value: String?) -> JSON? { value.map { .text($0) } }
  /// Wraps a whole number.
  public static func whole(_ value: Int) -> JSON { .integer(Int64(value)) }
}

/// The members of a JSON object in order. A key whose value is unknown is left out, never written as null.
public struct Fields: Sendable, Equatable, ExpressibleByDictionaryLiteral {
  /// Keys and values in the order of writing.
  public private(set) var entries: [(key: String, value: JSON)] = []

  /// Members in order; those without a value are dropped.
  public init(dictionaryLiteral elements: (String, JSON?)...) {
    for (key, value) in elements { self[key] = value }
  }

  /// The value of `key`; nil removes it.
  public subscript(key: String) -> JSON? {
    get { entries.first { $0.key == key }?.value }
    set {
      let place = entries.firstIndex { $0.key == key }
      switch (place, newValue) {
      case (let place?, let value?): entries[place].value = value
      case (let place?, nil): entries.remove(at: place)
      case (nil, let value?): entries.append((key, value))
      case (nil, nil): break
      }
    }
  }

  /// These members and then the others.
  public func followed(by others: Fields) -> Fields {
    var all = self
    for entry in others.entries { all[entry.key] = entry.value }
    return all
  }

  /// Same keys with the same values.
  public static func == (left: Fields, right: Fields) -> Bool {
    left.entries.count == right.entries.count && left.entries.allSatisfy { right[$0.key] == $0.value }
  }
}

extension JSON: Decodable {
  private struct Key: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  /// Reads a value of any kind.
  public init(from decoder: any Decoder) throws {
    if let members = try? decoder.container(keyedBy: Key.self) {
      var fields = Fields()
      for key in members.allKeys.sorted(by: { $0.stringValue < $1.stringValue }) {
        fields[key.stringValue] = try members.decode(JSON.self, forKey: key)
      }
      self = .object(fields)
    } else if var items = try? decoder.unkeyedContainer() {
      var list: [JSON] = []
      while !items.isAtEnd { list.append(try items.decode(JSON.self)) }
      self = .list(list)
    } else {
      self = try JSON(scalar: decoder.singleValueContainer())
    }
  }

  private init(scalar value: any SingleValueDecodingContainer) throws {
    if value.decodeNil() {
      self = .null
    } else if let bool = try? value.decode(Bool.self) {
      self = .bool(bool)
    } else if let integer = try? value.decode(Int64.self) {
      self = .integer(integer)
    } else if let number = try? value.decode(Double.self) {
      self = .number(number)
    } else {
      self = .text(try value.decode(String.self))
    }
  }
}

extension JSON {
  /// The value without spaces, non-ASCII characters as they are, as Python's `json.dumps` with `ensure_ascii=False`
  /// and compact separators writes it. Numbers that JSON cannot hold become null.
  public func compact() -> String {
    switch self {
    case .null: "null"
    case .bool(let value): value ? "true" : "false"
    case .integer(let value): String(value)
    case .number(let value): value.isFinite ? value.description : "null"
    case .text(let value): JSON.quoted(value)
    case .list(let values): "[" + values.map { $0.compact() }.joined(separator: ",") + "]"
    case .object(let fields):
      "{" + fields.entries.map { JSON.quoted($0.key) + ":" + $0.value.compact() }.joined(separator: ",") + "}"
    }
  }

  private static func quoted(_ text: String) -> String {
    var out = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      case "\u{8}": out += "\\b"
      case "\u{c}": out += "\\f"
      case _ where scalar.value < 0x20:
        out += "\\u00" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out + "\""
  }
}
