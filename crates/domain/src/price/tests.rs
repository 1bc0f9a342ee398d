//! Costs by hand for real price lists, and the laws that every price list keeps.

use proptest::prelude::*;

use super::*;

fn price(input: u64, output: u64) -> Price {
    Price { input: PicoUsd(input), output: PicoUsd(output), ..Price::default() }
}

fn pico(rate: u64) -> Option<PicoUsd> {
    Some(PicoUsd(rate))
}

#[track_caller]
fn check(price: &Price, usage: Usage, how: (Option<&str>, Option<&str>), nano: u64) {
    let how = Charged { tier: how.0, region: how.1 };
    assert_eq!(cost(price, &usage, &how), NanoUsd(nano));
}

#[track_caller]
fn check_estimate(price: &Price, input: u64, output: u64, nano: u64) {
    assert_eq!(estimate(price, input, output), NanoUsd(nano));
}

const STANDARD: (Option<&str>, Option<&str>) = (None, None);

#[test]
fn estimates_are_exact_and_rounded_once() {
    // 2.50 and 10 USD per million tokens: 1000 in and 100 out are 0.0035 USD.
    check_estimate(&price(2_500_000, 10_000_000), 1000, 100, 3_500_000);
    check_estimate(&price(499, 0), 1, 0, 0);
    check_estimate(&price(500, 0), 1, 0, 1);
    // Each half alone would round up; together they are exactly one.
    check_estimate(&price(500, 500), 1, 1, 1);
    check_estimate(&price(1_499, 0), 1, 0, 1);
    check_estimate(&price(u64::MAX, u64::MAX), u64::MAX, u64::MAX, u64::MAX);
    check_estimate(&Price { request: pico(5_000_000_000), ..price(0, 0) }, 0, 0, 5_000_000);
}

#[test]
fn long_prompts_have_their_own_rates() {
    let long = LongPrice {
        above: 200_000,
        input: PicoUsd(2_000_000),
        output: PicoUsd(9_000_000),
        ..LongPrice::default()
    };
    let price = Price { long: Some(long), ..price(1_000_000, 6_000_000) };
    check_estimate(&price, 200_000, 1000, 206_000_000);
    check_estimate(&price, 200_001, 1000, 409_002_000);
}

/// OpenAI's gpt-4o: 2.50, cached 1.25, 10 USD per million; batch 1.25 and 5; priority 4.25, cached 2.125, 17.
fn gpt_4o() -> Price {
    let batch = Tier { input: pico(1_250_000), output: pico(5_000_000), ..Tier::default() };
    let priority = Tier {
        input: pico(4_250_000),
        output: pico(17_000_000),
        cached_input: pico(2_125_000),
        ..Tier::default()
    };
    Price {
        cached_input: pico(1_250_000),
        tiers: [("batch".to_owned(), batch), ("priority".to_owned(), priority)].into(),
        ..price(2_500_000, 10_000_000)
    }
}

#[test]
fn gpt_4o_by_tier() {
    let usage = Usage { input: 1200, cached_input: 1000, output: 300, ..Usage::default() };
    // 200·2.5 + 1000·1.25 + 300·10 = 500 + 1250 + 3000 = 4750 micro-USD.
    check(&gpt_4o(), usage, STANDARD, 4_750_000);
    // 200·4.25 + 1000·2.125 + 300·17 = 850 + 2125 + 5100 = 8075.
    check(&gpt_4o(), usage, (Some("priority"), None), 8_075_000);
    // 200·1.25 + 1000·1.25 (the plain rate: batch has none) + 300·5 = 250 + 1250 + 1500 = 3000.
    check(&gpt_4o(), usage, (Some("batch"), None), 3_000_000);
    check(&gpt_4o(), usage, (Some("scale"), None), 4_750_000);
}

/// Anthropic's claude-sonnet-4-6: 3, cached 0.30, written 3.75, for an hour 6, 15 USD per million; a search 0.01 USD;
/// a tenth more for inference in the US.
fn sonnet() -> Price {
    Price {
        cached_input: pico(300_000),
        cache_write: pico(3_750_000),
        cache_write_long: pico(6_000_000),
        search: pico(10_000_000_000),
        regions: [("us".to_owned(), Region { surcharge: 100, ..Region::default() })].into(),
        ..price(3_000_000, 15_000_000)
    }
}

#[test]
fn sonnet_with_caches_searches_and_a_region() {
    let usage = Usage {
        input: 10_000,
        cached_input: 4000,
        cache_write: 3000,
        cache_write_long: 1000,
        output: 500,
        searches: 2,
        ..Usage::default()
    };
    // 3000·3 + 4000·0.3 + 2000·3.75 + 1000·6 + 500·15 = 9000 + 1200 + 7500 + 6000 + 7500 = 31200 micro-USD;
    // two searches are 20000.
    check(&sonnet(), usage, STANDARD, 51_200_000);
    // A tenth more on the tokens alone: 34320 + 20000.
    check(&sonnet(), usage, (None, Some("us")), 54_320_000);
    check(&sonnet(), usage, (None, Some("global")), 51_200_000);
    // What is written for long costs as what is written for short where nothing else is said: 2000 more of 3.75.
    let one_rate = Price { cache_write_long: None, ..sonnet() };
    check(&one_rate, usage, STANDARD, 51_200_000 - 6_000_000 + 3_750_000);
}

#[test]
fn gemini_pro_long_prompts_on_a_tier() {
    let long = |input, cached, output| {
        let long = LongPrice {
            above: 200_000,
            input: PicoUsd(input),
            output: PicoUsd(output),
            ..LongPrice::default()
        };
        Some(LongPrice { cached_input: pico(cached), ..long })
    };
    let priority = Tier {
        input: pico(2_250_000),
        output: pico(18_000_000),
        cached_input: pico(225_000),
        long: long(4_500_000, 450_000, 27_000_000),
        ..Tier::default()
    };
    let flex = Tier { input: pico(625_000), output: pico(5_000_000), ..Tier::default() };
    let gemini = Price {
        cached_input: pico(125_000),
        long: long(2_500_000, 250_000, 15_000_000),
        tiers: [("priority".to_owned(), priority), ("flex".to_owned(), flex)].into(),
        ..price(1_250_000, 10_000_000)
    };
    let usage =
        Usage { input: 300_000, cached_input: 100_000, output: 1000, reasoning: 600, ..Usage::default() };
    // 200000·2.5 + 100000·0.25 + 1000·15 = 500000 + 25000 + 15000 = 540000 micro-USD.
    check(&gemini, usage, STANDARD, 540_000_000);
    // 200000·4.5 + 100000·0.45 + 1000·27 = 900000 + 45000 + 27000 = 972000.
    check(&gemini, usage, (Some("priority"), None), 972_000_000);
    // Flex says nothing about long prompts: the dearer of its own and the plain long rates, which are the latter.
    check(&gemini, usage, (Some("flex"), None), 540_000_000);
    // 100000·0.625 + 100000·0.125 + 1000·5 = 62500 + 12500 + 5000 = 80000: a prompt that is not long.
    check(&gemini, Usage { input: 200_000, ..usage }, (Some("flex"), None), 80_000_000);
}

#[test]
fn spoken_and_drawn_answers_have_their_own_rates() {
    // gpt-4o-audio-preview: text 2.50 and 10, sound 40 and 80 USD per million.
    let audio = Price {
        audio_input: pico(40_000_000),
        audio_output: pico(80_000_000),
        ..price(2_500_000, 10_000_000)
    };
    let usage = Usage { input: 150, audio_input: 100, output: 250, audio_output: 200, ..Usage::default() };
    // 50·2.5 + 100·40 + 50·10 + 200·80 = 125 + 4000 + 500 + 16000 = 20625 micro-USD.
    check(&audio, usage, STANDARD, 20_625_000);
    // An image for 0.04 USD, and 0.005 USD for asking at all: 3·0.04 + 0.005 = 0.125 USD.
    let drawn = Price { image: pico(40_000_000_000), request: pico(5_000_000_000), ..price(0, 0) };
    check(&drawn, Usage { images: 3, ..Usage::default() }, STANDARD, 125_000_000);
}

#[test]
fn regions_have_their_own_rates_and_a_rest() {
    let eu = Region {
        rates: Tier { input: pico(3_000_000), ..Tier::default() },
        tiers: [("batch".to_owned(), Tier { input: pico(1_500_000), ..Tier::default() })].into(),
        surcharge: 0,
    };
    let rest = Region { surcharge: 55, ..Region::default() };
    let price = Price {
        regions: [("eu".to_owned(), eu), ("global".to_owned(), Region::default()), ("*".to_owned(), rest)]
            .into(),
        ..gpt_4o()
    };
    let usage = Usage { input: 1000, output: 100, ..Usage::default() };
    check(&price, usage, (None, Some("eu")), 4_000_000);
    // The region's batch rate lies over the plain batch rate, which still holds for the answer: 1500 + 500.
    check(&price, usage, (Some("batch"), Some("eu")), 2_000_000);
    check(&price, usage, (None, Some("global")), 3_500_000);
    // 3500 micro-USD and 5.5 % of it.
    check(&price, usage, (None, Some("us-east-1")), 3_692_500);
    check(&price, usage, STANDARD, 3_500_000);
}

#[test]
fn a_report_that_contradicts_itself_charges_no_token_twice() {
    let usage = Usage {
        input: 100,
        cached_input: 80,
        cache_write: 80,
        cache_write_long: 90,
        audio_input: 80,
        output: 10,
        reasoning: 8,
        audio_output: 8,
        ..Usage::default()
    };
    let flat = Price { cached_input: pico(1000), cache_write_long: pico(1000), ..price(1000, 1000) };
    check(&flat, usage, STANDARD, 110);
}

#[test]
fn the_version_follows_the_content() {
    assert_eq!(version(&gpt_4o()), version(&gpt_4o()));
    let mut other = gpt_4o();
    other.tiers.clear();
    assert_ne!(version(&gpt_4o()), version(&other));
    // Ledgers keep it: it may not change between releases for a price that says the same.
    assert_eq!(version(&price(1, 2)), crate::event::content_hash(r#"{"input":1,"output":2}"#));
}

#[test]
fn amounts_print_as_dollars() {
    assert_eq!(NanoUsd(3_500_000).to_string(), "0.003500000 USD");
    assert_eq!(NanoUsd(12_000_000_001).to_string(), "12.000000001 USD");
    for (nano, text) in [(0, "0"), (1, "0.000000001"), (3_500_000, "0.0035"), (20_000_000_000, "20")] {
        assert_eq!(NanoUsd(nano).dollars(), text);
    }
}

#[test]
fn a_price_prints_and_parses_back() {
    let region =
        Region { surcharge: 100, rates: Tier { search: pico(7), ..Tier::default() }, tiers: [].into() };
    let price = Price { regions: [("eu".to_owned(), region)].into(), ..gpt_4o() };
    let text = serde_json::to_string(&price).unwrap();
    assert_eq!(serde_json::from_str::<Price>(&text).unwrap(), price);
    // As it was written before there were tiers.
    assert_eq!(
        serde_json::from_str::<Price>(r#"{"input":1,"output":2}"#).unwrap(),
        super::tests::price(1, 2)
    );
}

fn rate() -> impl Strategy<Value = PicoUsd> {
    (0..1_u64 << 40).prop_map(PicoUsd)
}

fn tokens() -> impl Strategy<Value = u64> {
    0..1_u64 << 30
}

prop_compose! {
    fn tier()(input in proptest::option::of(rate()), output in proptest::option::of(rate()), cached in proptest::option::of(rate()), write in proptest::option::of(rate()), audio in proptest::option::of(rate())) -> Tier {
        Tier { input, output, cached_input: cached, cache_write: write, audio_input: audio, ..Tier::default() }
    }
}

prop_compose! {
    fn list()(input in rate(), output in rate(), plain in tier(), reasoning in proptest::option::of(rate()), more in 0..1_u64 << 30, above in tokens(), batch in tier(), surcharge in 0..2000_u32) -> Price {
        let dearer = |rate: PicoUsd| PicoUsd(rate.0 + more);
        let long = LongPrice { above, input: dearer(input), output: dearer(output), cached_input: plain.cached_input.map(dearer), ..LongPrice::default() };
        Price {
            cached_input: plain.cached_input,
            cache_write: plain.cache_write,
            audio_input: plain.audio_input,
            reasoning,
            search: plain.cache_write,
            image: plain.audio_input,
            request: plain.cached_input,
            long: Some(long),
            tiers: [("batch".to_owned(), batch)].into(),
            regions: [("*".to_owned(), Region { surcharge, ..Region::default() })].into(),
            ..price(input.0, output.0)
        }
    }
}

prop_compose! {
    /// Parts that fit into the whole.
    fn usage()(parts in proptest::collection::vec(0..1_u64 << 26, 7), long in 0..=100_u64, images in 0..9_u64, searches in 0..9_u64) -> Usage {
        Usage {
            input: parts[0] + parts[1] + parts[2] + parts[3],
            cached_input: parts[1],
            cache_write: parts[2],
            cache_write_long: parts[2] * long / 100,
            audio_input: parts[3],
            output: parts[4] + parts[5] + parts[6],
            reasoning: parts[5],
            audio_output: parts[6],
            images,
            searches,
        }
    }
}

proptest! {
    #[test]
    fn more_of_anything_never_costs_less(list in list(), usage in usage(), tiered: bool, located: bool) {
        let how = Charged { tier: tiered.then_some("batch"), region: located.then_some("x") };
        let least = cost(&list, &usage, &how);
        for more in [
            Usage { input: usage.input + 1, ..usage },
            Usage { output: usage.output + 1, ..usage },
            Usage { images: usage.images + 1, ..usage },
            Usage { searches: usage.searches + 1, ..usage },
            Usage { input: usage.input + 1, cached_input: usage.cached_input + 1, ..usage },
            Usage { output: usage.output + 1, reasoning: usage.reasoning + 1, ..usage },
        ] {
            prop_assert!(cost(&list, &more, &how) >= least, "{more:?}");
        }
    }

    #[test]
    fn a_cost_is_the_sum_of_its_parts(list in list(), usage in usage(), tiered: bool) {
        let list = Price { long: None, ..list };
        let how = Charged { tier: tiered.then_some("batch"), region: None };
        let parts = [
            Usage { input: usage.input - usage.cached_input - usage.cache_write - usage.audio_input, ..Usage::default() },
            Usage { input: usage.cached_input, cached_input: usage.cached_input, ..Usage::default() },
            Usage { input: usage.cache_write, cache_write: usage.cache_write, cache_write_long: usage.cache_write_long, ..Usage::default() },
            Usage { input: usage.audio_input, audio_input: usage.audio_input, ..Usage::default() },
            Usage { output: usage.output - usage.reasoning - usage.audio_output, ..Usage::default() },
            Usage { output: usage.reasoning, reasoning: usage.reasoning, ..Usage::default() },
            Usage { output: usage.audio_output, audio_output: usage.audio_output, ..Usage::default() },
            Usage { images: usage.images, searches: usage.searches, ..Usage::default() },
        ];
        // Every part pays for the request once; the whole does so once.
        let request = list.request.unwrap_or_default().0 as i128;
        let free = Price { request: None, ..list.clone() };
        let sum: i128 = parts.iter().map(|part| i128::from(cost(&free, part, &how).0)).sum();
        let whole = i128::from(cost(&list, &usage, &how).0);
        prop_assert!((whole * 1000 - request - sum * 1000).abs() <= 500 * (parts.len() as i128 + 1));
    }

    #[test]
    fn with_one_rate_the_split_does_not_matter(rate in 0..1_u64 << 30, usage in usage()) {
        let one = pico(rate);
        let flat = Price { cached_input: one, cache_write: one, cache_write_long: one, reasoning: one, audio_input: one, audio_output: one, ..price(rate, rate) };
        let plain = Usage { images: 0, searches: 0, ..usage };
        let exact = u128::from(rate) * u128::from(plain.total());
        let nano = (exact + 500) / 1000;
        prop_assert_eq!(u128::from(cost(&flat, &plain, &Charged::default()).0), nano);
        // What a price list does not name is charged as the plain kind.
        prop_assert_eq!(u128::from(cost(&price(rate, rate), &plain, &Charged::default()).0), nano);
    }

    #[test]
    fn a_tier_that_is_not_priced_costs_the_plain_rates(list in list(), usage in usage(), located: bool) {
        let region = located.then_some("x");
        let plain = cost(&list, &usage, &Charged { tier: None, region });
        prop_assert_eq!(cost(&list, &usage, &Charged { tier: Some("flex"), region }), plain);
        let empty = Price { tiers: [("flex".to_owned(), Tier::default())].into(), ..list };
        prop_assert_eq!(cost(&empty, &usage, &Charged { tier: Some("flex"), region }), plain);
    }

    #[test]
    fn an_estimate_is_within_half_a_nano_of_the_exact_sum(input in tokens(), output in tokens(), a in rate(), b in rate()) {
        let (input, output) = (input >> 10, output >> 10);
        let exact = u128::from(a.0) * u128::from(input) + u128::from(b.0) * u128::from(output);
        let rounded = u128::from(estimate(&price(a.0, b.0), input, output).0) * 1000;
        prop_assert!(rounded.abs_diff(exact) <= 500);
    }
}
