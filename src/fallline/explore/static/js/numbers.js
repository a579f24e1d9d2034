// Numbers as a person reads them.
const SUPER = "⁰¹²³⁴⁵⁶⁷⁸⁹";
const power = (exponent) => `10${exponent < 0 ? "⁻" : ""}${[...String(Math.abs(exponent))].map((digit) => SUPER[digit]).join("")}`;

// "0.0123", "−1.5", "12,346", "2.1·10⁻⁷"; "–" for what is no number.
export function written(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value < 0) return `−${written(-value, digits)}`;
  if (value === 0) return "0";
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e").map(Number);
  if (exponent < -4 || exponent > 6) return `${mantissa}·${power(exponent)}`;
  return fixed(Number(value.toPrecision(Math.max(digits, exponent + 1))), Math.max(digits - 1 - exponent, 0));
}

// A formatter is dear to make and cheap to use: some are needed again and again.
const formats = {};
const fixed = (value, decimals) =>
  (formats[decimals] ??= new Intl.NumberFormat("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals })).format(value);

// The same for an axis: no zeros at its end.
export function label(value) {
  const text = written(value, 3);
  return text.includes(".") && !text.includes("·") ? text.replace(/\.?0+$/, "") : text;
}

export const signed = (value, digits) => (value < 0 ? written(value, digits) : `+${written(value, digits)}`);
export const counted = (count, one, many) => `${count.toLocaleString("en")} ${count === 1 ? one : (many ?? `${one}s`)}`;
