// Looks at pages in headless Chromium: look.mjs BROWSER < wishes.json > findings.json
//
// A wish: {"name", "url", "scheme": "light"|"dark", "width", "height", "agent", "text": 1, "open": false, "media": "screen"|"print", "shot": file or null}.
// TEXT enlarges letters only; OPEN unfolds all <details>. A finding: what a page must not have (problems: list of texts), and what it is (title, heading, text …).
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const require = createRequire(import.meta.url);
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

async function look(browser, wish) {
	const context = await browser.newContext({
		ignoreHTTPSErrors: true, colorScheme: wish.scheme ?? "light", viewport: { width: wish.width ?? 1000, height: wish.height ?? 900 },
		...(wish.agent ? { userAgent: wish.agent } : {}),
	});
	const page = await context.newPage();
	const problems = [];
	// Chromium reports the status of a refusal's page as an error too; that one is meant.
	page.on("console", (m) => { if (m.type() === "error" && !/status of [45]\d\d/.test(m.text())) problems.push(`console: ${m.text()}`); });
	page.on("pageerror", (e) => problems.push(`script: ${e}`));
	page.on("request", (r) => { if (r.url() !== wish.url) problems.push(`asks for ${r.url()}`); });
	const answer = await page.goto(wish.url);
	if (wish.text) await page.evaluate((n) => { document.documentElement.style.fontSize = `${100 * n}%`; }, wish.text);
	if (wish.open) await page.evaluate(() => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
	await page.emulateMedia({ media: wish.media ?? "screen", colorScheme: wish.scheme ?? "light" });
	if (wish.shot) await page.screenshot({ path: wish.shot, fullPage: true });
	const found = await page.evaluate(() => ({
		title: document.title, lang: document.documentElement.lang, headings: [...document.querySelectorAll("h1")].map((h) => h.innerText), text: document.body.innerText,
		wide: document.documentElement.scrollWidth - document.documentElement.clientWidth, scripts: document.scripts.length,
		ground: getComputedStyle(document.body).backgroundColor, links: [...document.links].map((a) => a.href), elements: document.querySelectorAll("*").length,
		landmarks: ["header", "main", "footer"].map((n) => document.querySelectorAll(n).length),
	}));
	if (found.wide > 0) problems.push(`${found.wide} pixels wider than the window`);
	if (wish.media !== "print") {
		await page.evaluate(axe);
		const report = await page.evaluate((tags) => globalThis.axe.run(document, { runOnly: tags }), rules);
		found.passed = report.passes.length;
		for (const v of report.violations) problems.push(`${v.id}: ${v.help}: ${v.nodes.map((n) => n.html.slice(0, 200)).join(" ; ")}`);
		problems.push(...await unseenFocus(page));
	}
	await context.close();
	return { name: wish.name, status: answer.status(), ...found, problems };
}

// Everything that the Tab key reaches must show that it is reached.
async function unseenFocus(page) {
	const problems = [];
	const count = await page.evaluate(() => document.querySelectorAll("a[href], summary").length);
	let reached = 0;
	for (let i = 0; i < count; i++) {
		await page.keyboard.press("Tab");
		const at = await page.evaluate(() => {
			const e = document.activeElement;
			return e === document.body ? null : { what: e.outerHTML.slice(0, 100), style: getComputedStyle(e).outlineStyle, width: parseFloat(getComputedStyle(e).outlineWidth) };
		});
		if (!at) break;
		reached++;
		if (at.style === "none" || at.width < 2) problems.push(`focus cannot be seen on ${at.what}`);
	}
	if (count && !reached) problems.push("the Tab key reaches nothing");
	return problems;
}

const browser = await chromium.launch({ executablePath: process.argv[2], args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--force-prefers-reduced-motion"] });
const wishes = JSON.parse(readFileSync(0, "utf8"));
const findings = [];
let next = 0;
// Each worker takes the next wish; a browser waits much, so they hardly get into each other's way.
const worker = async () => { while (next < wishes.length) { const i = next++; findings[i] = await look(browser, wishes[i]); } };
try {
	await Promise.all([worker(), worker(), worker()]);
} finally {
	await browser.close();
}
process.stdout.write(JSON.stringify(findings));
